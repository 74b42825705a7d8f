//! What decoding a file would take, found by walking its bytes: an empty message of two bytes becomes a structure of
//! hundreds, so a small file could ask for any amount of memory.

use protos::onnx::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto,
    StringStringEntryProto, TensorProto, TypeProto, ValueInfoProto,
};

/// Decoding may take this much whatever the size of the file, and 16 times the file beyond it.
const BASE_BYTES: usize = 256 << 20;
const TIMES_FILE: usize = 16;

/// How deep messages may lie in each other: graphs in nodes in graphs.
const MAX_DEPTH: usize = 64;

/// Checks that decoding `bytes` stays within 256 MiB and 16 times their length.
///
/// # Errors
/// If it does not, or the bytes are no protocol buffer.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let limit = BASE_BYTES.saturating_add(bytes.len().saturating_mul(TIMES_FILE));
    let mut walk = Walk { left: limit };
    walk.message(bytes, Message::Model, 0)
}

/// The messages that hold others or many small parts.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    ValueInfo,
    Type,
    Function,
    Training,
    /// One with a few fields: strings and numbers.
    Small,
}

/// What a field of bytes is.
enum Part {
    Inner(Message, usize),
    /// Numbers one behind the other: of a byte each they become eight.
    Numbers,
    /// Text or bytes.
    Bytes,
}

impl Message {
    fn part(self, field: u64) -> Part {
        let node = Part::Inner(Self::Node, size_of::<NodeProto>());
        let attribute = Part::Inner(Self::Attribute, size_of::<AttributeProto>());
        let tensor = Part::Inner(Self::Tensor, size_of::<TensorProto>());
        let sparse = Part::Inner(Self::Sparse, size_of::<SparseTensorProto>());
        let graph = Part::Inner(Self::Graph, size_of::<GraphProto>());
        let value = Part::Inner(Self::ValueInfo, size_of::<ValueInfoProto>());
        let r#type = Part::Inner(Self::Type, size_of::<TypeProto>());
        let small = Part::Inner(Self::Small, size_of::<StringStringEntryProto>());
        match (self, field) {
            (Self::Model, 7) => graph,
            (Self::Model, 25) => Part::Inner(Self::Function, size_of::<FunctionProto>()),
            (Self::Model, 20) => Part::Inner(Self::Training, size_of::<ModelProto>()),
            (Self::Training, 1 | 2) => graph,
            (Self::Model, 8 | 14 | 26) | (Self::Training, 3 | 4) => small,
            (Self::Graph, 1) | (Self::Function, 7) => node,
            (Self::Graph, 5) => tensor,
            (Self::Graph, 15) => sparse,
            (Self::Graph, 11..=13) | (Self::Function, 12) => value,
            (Self::Graph, 14) => Part::Inner(Self::ValueInfo, size_of::<ValueInfoProto>()),
            (Self::Graph, 16) | (Self::Function, 9 | 14) => small,
            (Self::Node, 5) | (Self::Function, 11) => attribute,
            (Self::Node, 9 | 10) => Part::Inner(Self::ValueInfo, size_of::<NodeProto>()),
            (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => tensor,
            (Self::Attribute, 6 | 11) => graph,
            (Self::Attribute, 22 | 23) => sparse,
            (Self::Attribute, 14 | 15) | (Self::ValueInfo, 2) => r#type,
            (Self::Tensor, 3 | 13 | 16) | (Self::ValueInfo, 4) => small,
            (Self::Tensor, 5 | 7 | 11) => Part::Numbers,
            // Types lie in types, and shapes have many dimensions.
            (Self::Type, _) | (Self::ValueInfo, _) => Part::Inner(Self::Type, size_of::<TypeProto>()),
            _ => Part::Bytes,
        }
    }
}

struct Walk {
    /// Bytes that may still be asked for.
    left: usize,
}

impl Walk {
    fn message(&mut self, mut bytes: &[u8], message: Message, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("its messages lie deeper in each other than {MAX_DEPTH}"));
        }
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            match key & 7 {
                0 => {
                    varint(&mut bytes)?;
                    self.take(size_of::<u64>())?;
                }
                1 => skip(&mut bytes, 8).map(|_| ())?,
                5 => skip(&mut bytes, 4).map(|_| ())?,
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).map_err(|_| broken())?;
                    let inner = skip(&mut bytes, length)?;
                    match message.part(key >> 3) {
                        Part::Inner(message, size) => {
                            self.take(size)?;
                            // Text may stand where a type could: then its bytes mean nothing here.
                            match (self.message(inner, message, depth + 1), message) {
                                (Err(reason), Message::Type | Message::Small) if reason == broken() => {}
                                (result, _) => result?,
                            }
                        }
                        Part::Numbers => self.take(inner.len().saturating_mul(size_of::<u64>()))?,
                        Part::Bytes => self.take(size_of::<Vec<u8>>() + inner.len())?,
                    }
                }
                _ => return Err(broken()),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            format!(
                "reading it would take more than 256 MiB and {TIMES_FILE} times its size; it was not written by an exporter"
            )
        })?;
        Ok(())
    }
}

fn broken() -> String {
    "it is no ONNX model: its bytes are no protocol buffer, or end too early".to_owned()
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(broken)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(broken())
}

fn skip<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(broken)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes; lengths below 128.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    #[test]
    fn messages_that_grow_are_refused_before_they_are_decoded() {
        // A node of one empty attribute: 4 bytes that become about two thousand.
        let node = field(5, &[]);
        let nodes = field(1, &node).repeat(1 << 20);
        let mut model = vec![7 << 3 | 2];
        let mut length = nodes.len();
        while length >= 0x80 {
            model.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        model.push(length as u8);
        model.extend(&nodes);
        let refused = check(&model).unwrap_err();
        assert!(refused.contains("more than 256 MiB"), "{refused}");
        let few = field(7, &field(1, &node).repeat(10));
        assert_eq!(check(&few), Ok(()));
    }

    #[test]
    fn what_is_no_protocol_buffer_is_refused() {
        for bytes in [&b"\x89PNG\r\n"[..], &[0x3a, 0x7f, 0], &[0xff; 12]] {
            assert!(check(bytes).unwrap_err().contains("no ONNX model"));
        }
    }

    #[test]
    fn graphs_in_graphs_end_somewhere() {
        let mut bytes = vec![];
        for _ in 0..40 {
            let graph = field(6, &bytes);
            bytes = field(1, &field(5, &graph));
            if bytes.len() > 120 {
                break;
            }
        }
        assert_eq!(check(&field(7, &bytes)), Ok(()));
    }
}
