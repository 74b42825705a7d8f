//! The body of a reply, which its request lasts as long as, and what of it the client has not taken.
//!
//! HTTP/2 lets a client stop a single reply and read on: what it does not take waits in memory while the connection is all right. So large
//! pieces say when they go.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Buf, Frame, SizeHint};

use super::connection::InProgress;
use super::line::Unread;

/// Smaller pieces may wait as long as their connection lasts: it has few streams.
const PIECE_BYTES: usize = 1024;

/// A reply on its way.
pub(super) struct Reply {
    body: Body,
    request: InProgress,
    unread: Option<Arc<Unread>>,
}

impl Reply {
    pub(super) fn new(body: Body, request: InProgress) -> Self {
        Self { body, request, unread: None }
    }

    fn piece(&mut self, bytes: Bytes) -> Piece {
        let line = self.request.line();
        if bytes.len() < PIECE_BYTES || !line.is_multiplexed() {
            return Piece { bytes, unread: None };
        }
        let unread = Arc::clone(self.unread.get_or_insert_with(|| line.reply_begins()));
        unread.waits(bytes.len());
        Piece { bytes, unread: Some(unread) }
    }
}

impl HttpBody for Reply {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.piece(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A part of a reply.
pub(super) struct Piece {
    bytes: Bytes,
    unread: Option<Arc<Unread>>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        if let Some(unread) = &self.unread {
            unread.takes(bytes);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(unread) = &self.unread {
            unread.drops(self.bytes.len());
        }
    }
}
