//! Messages from and to the bytes of a frame.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use platform::{Error, Kind};
use prost::Message;
use tonic::Status;
use tonic::codec::{DecodeBuf, EncodeBuf};

use super::cost::{self, Cost};
use super::reply;
use crate::dialect::Dialect;
use crate::router::Gateway;

/// Reads requests `Q` whose parts cost this, and writes replies `R`.
pub(super) struct Codec<Q, R> {
    costs: &'static [Cost],
    bytes: Bodies,
    types: PhantomData<fn(Q) -> R>,
}

impl<Q, R> Codec<Q, R> {
    pub(super) fn new(costs: &'static [Cost], bytes: Bodies) -> Self {
        Self { costs, bytes, types: PhantomData }
    }
}

/// Where the bytes of messages are counted, as they are before they are compressed.
#[derive(Clone)]
pub(super) struct Bodies {
    gateway: Arc<Gateway>,
    dialect: Dialect,
}

impl Bodies {
    pub(super) fn of(gateway: &Arc<Gateway>, dialect: Dialect) -> Self {
        Self { gateway: Arc::clone(gateway), dialect }
    }
}

/// Reads a message. What it has of type `bytes` shares the memory of `message`.
///
/// # Errors
/// [`Kind::InvalidArgument`] for bytes that are no such message, [`Kind::ResourceExhausted`] for too costly ones.
pub(super) fn read<Q: Message + Default>(message: Bytes, costs: &'static [Cost]) -> Result<Q, Error> {
    cost::check(&message, costs)?;
    Q::decode(message).map_err(|error| Error::new(Kind::InvalidArgument, error.to_string()))
}

impl<Q, R> tonic::codec::Codec for Codec<Q, R>
where
    Q: Message + Default + Send + 'static,
    R: Message + Send + 'static,
{
    type Encode = R;
    type Decode = Q;
    type Encoder = Encoder<R>;
    type Decoder = Decoder<Q>;

    fn encoder(&mut self) -> Encoder<R> {
        Encoder { bytes: self.bytes.clone(), message: PhantomData }
    }

    fn decoder(&mut self) -> Decoder<Q> {
        Decoder { costs: self.costs, bytes: self.bytes.clone(), message: PhantomData }
    }
}

/// Writes messages.
pub(super) struct Encoder<R> {
    bytes: Bodies,
    message: PhantomData<fn(R)>,
}

impl<R: Message> tonic::codec::Encoder for Encoder<R> {
    type Item = R;
    type Error = Status;

    fn encode(&mut self, message: R, frame: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // Once, and not in steps of the buffer's default.
        let length = message.encoded_len();
        self.bytes.gateway.counts.sent(self.bytes.dialect, length as u64);
        frame.reserve(length);
        message.encode(frame).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Reads messages.
pub(super) struct Decoder<Q> {
    costs: &'static [Cost],
    bytes: Bodies,
    message: PhantomData<fn() -> Q>,
}

impl<Q: Message + Default> tonic::codec::Decoder for Decoder<Q> {
    type Item = Q;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<Q>, Status> {
        let message = frame.copy_to_bytes(frame.remaining());
        self.bytes.gateway.counts.received(self.bytes.dialect, message.len() as u64);
        read(message, self.costs).map(Some).map_err(|error| reply::status(&error))
    }
}
