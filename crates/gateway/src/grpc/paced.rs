//! The body of a call, at the pace of every body.
//!
//! A message that is on its way keeps what waits for it: its place among the requests in progress, or that of its stream. Between the
//! messages of a stream the client may be quiet as long as it likes. Deliberately not here: what is in a message.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use platform::{Error, Kind};
use tonic::Status;

use super::reply;
use crate::observe;
use crate::pace::{Pace, Wait};
use crate::refusal::SLOW_BODY;

/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The body of a call. It ends with [`Kind::DeadlineExceeded`] if it comes too slowly.
pub(super) struct Paced {
    body: Body,
    wait: Wait,
    /// Where its messages end, if between them it may be quiet.
    messages: Option<Messages>,
}

impl Paced {
    /// Of a call with one message.
    pub(super) fn one(body: Body) -> Self {
        Self::at(observe::pace_of_body(), body, None)
    }

    /// Of a call with any number of messages.
    pub(super) fn stream(body: Body) -> Self {
        Self::at(observe::pace_of_body(), body, Some(Messages::default()))
    }

    fn at(pace: Pace, body: Body, messages: Option<Messages>) -> Self {
        Self { body, wait: Wait::new(pace), messages }
    }

    fn came(&mut self, bytes: &[u8]) {
        let begun_in_it = match &mut self.messages {
            Some(messages) => messages.pass(bytes),
            None => None,
        };
        if let Some(of_the_last) = begun_in_it {
            self.wait.restart();
            self.wait.came(of_the_last);
        } else {
            self.wait.came(bytes.len());
        }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    self.came(bytes);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Status::from_error(Box::new(error))))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.messages.as_ref().is_some_and(Messages::is_between) => Poll::Pending,
            Poll::Pending => self
                .wait
                .poll_late(context)
                .map(|()| Some(Err(reply::status(&Error::new(Kind::DeadlineExceeded, SLOW_BODY))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where messages begin and end in what has come.
#[derive(Debug, Default)]
struct Messages {
    /// Of the prefix of the message that is coming.
    prefix: usize,
    /// Its length, as far as the prefix has come; then what is still to come of it.
    left: u32,
}

impl Messages {
    fn is_between(&self) -> bool {
        self.prefix == 0
    }

    /// Passes over what came. If a message has begun in it: how many bytes of the last one came.
    fn pass(&mut self, mut bytes: &[u8]) -> Option<usize> {
        let mut begun = None;
        while let Some(&byte) = bytes.first() {
            if self.prefix == 0 {
                begun = Some(bytes.len());
            }
            if self.prefix < PREFIX_BYTES {
                if self.prefix > 0 {
                    self.left = self.left << 8 | u32::from(byte);
                }
                self.prefix += 1;
                bytes = &bytes[1..];
            } else {
                let taken = bytes.len().min(self.left as usize);
                self.left -= taken as u32;
                bytes = &bytes[taken..];
            }
            if self.prefix == PREFIX_BYTES && self.left == 0 {
                *self = Self::default();
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures::StreamExt as _;
    use http_body_util::BodyExt as _;
    use tonic::Code;

    use super::*;

    fn message(bytes: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(u32::try_from(bytes).unwrap().to_be_bytes());
        message.resize(PREFIX_BYTES + bytes, 7);
        message
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let (mut all, mut borders) = (Vec::new(), vec![0]);
        for bytes in [0, 1, 300, 0, 70_000] {
            all.extend(message(bytes));
            borders.push(all.len());
        }
        for cut in [1, 2, 3, 5, 6, 7, 64, 1000, 100_000] {
            let mut messages = Messages::default();
            let mut passed = 0;
            for part in all.chunks(cut) {
                let begun = messages.pass(part);
                let before = passed;
                passed += part.len();
                let last = borders.iter().rfind(|&&border| border >= before && border < passed);
                assert_eq!(begun, last.map(|border| passed - border), "cut {cut} at {passed}");
                assert_eq!(messages.is_between(), borders.contains(&passed), "cut {cut} at {passed}");
            }
        }
    }

    /// Parts, each after so many milliseconds; then nothing for good.
    fn coming(parts: Vec<(u64, Vec<u8>)>) -> Body {
        let parts = futures::stream::iter(parts).then(|(millis, part)| async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok::<_, Infallible>(Bytes::from(part))
        });
        Body::from_stream(parts.chain(futures::stream::pending()))
    }

    const PACE: Pace = Pace { silence_max: Duration::from_millis(200), bytes_per_second_min: 10_000 };

    /// The bytes that came, and how it ended unless it was quiet for a second. What is ready goes before that second is over, so a busy
    /// machine changes nothing.
    async fn read(mut body: Paced) -> (usize, Option<Code>) {
        let mut read = 0;
        loop {
            match tokio::time::timeout(Duration::from_secs(1), body.frame()).await {
                Err(_) => return (read, None),
                Ok(Some(Ok(frame))) => read += frame.into_data().unwrap().len(),
                Ok(Some(Err(status))) => return (read, Some(status.code())),
                Ok(None) => panic!("it does not end"),
            }
        }
    }

    #[tokio::test]
    async fn a_stream_may_be_quiet_between_messages_and_not_within() {
        let stream = |parts| Paced::at(PACE, coming(parts), Some(Messages::default()));
        let whole = message(100);
        let parts =
            vec![(0, whole.clone()), (500, whole.clone()), (500, [whole.clone(), whole.clone()].concat())];
        assert_eq!(read(stream(parts)).await, (420, None));
        let parts = vec![(0, whole.clone()), (500, whole[..50].to_vec())];
        assert_eq!(read(stream(parts)).await, (155, Some(Code::DeadlineExceeded)));
        // A byte every so often of one message.
        let dribble = (0..100).map(|_| (50, vec![0, 0, 0, 255, 255])).collect();
        let (bytes, code) = read(stream(dribble)).await;
        assert!(bytes < 50, "{bytes} bytes");
        assert_eq!(code, Some(Code::DeadlineExceeded));
    }

    #[tokio::test]
    async fn the_one_message_of_a_call_comes_at_once_and_so_does_its_end() {
        for parts in [vec![], vec![(0, message(100)[..50].to_vec())], vec![(0, message(100))]] {
            let (_, code) = read(Paced::at(PACE, coming(parts), None)).await;
            assert_eq!(code, Some(Code::DeadlineExceeded));
        }
    }
}
