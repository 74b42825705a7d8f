//! The bytes of a connection, and whether its client takes what it is sent.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line::Line;

/// A stream that says on its [`Line`] when it can write no more.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    line: Arc<Line>,
    taken_bytes: u64,
    blocked: bool,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, line: Arc<Line>) -> Self {
        Self { stream, line, taken_bytes: 0, blocked: false }
    }

    /// What has become of writing so many bytes.
    fn told<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match &written {
            Poll::Ready(Ok(written)) => self.taken_bytes += bytes(written) as u64,
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.blocked = true;
                self.line.socket_blocks(self.taken_bytes);
                return written;
            }
        }
        if std::mem::take(&mut self.blocked) {
            self.line.socket_takes();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.told(written, |&bytes| bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.told(written, |&bytes| bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.told(flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.told(shut, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_line_knows_what_its_socket_does_not_take() {
        let (near, mut far) = tokio::io::duplex(100);
        let line = Arc::<Line>::default();
        let mut socket = Socket::new(near, Arc::clone(&line));
        socket.write_all(&[1; 80]).await.unwrap();
        assert_eq!(line.blocked_at(), None);
        let sending = tokio::spawn(async move {
            socket.write_all(&[2; 250]).await.unwrap();
            socket
        });
        tokio::task::yield_now().await;
        assert_eq!(line.blocked_at(), Some(100));
        far.read_exact(&mut [0; 100]).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(line.blocked_at(), Some(200));
        far.read_exact(&mut [0; 200]).await.unwrap();
        let socket = sending.await.unwrap();
        assert_eq!((line.blocked_at(), socket.taken_bytes), (None, 330));
    }
}
