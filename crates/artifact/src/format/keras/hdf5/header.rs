//! The header of an object: a list of messages, in one or several blocks.

use super::bytes::{Bytes, Read};

/// What a message is about, by its number in the format.
pub(super) mod kind {
    pub(in super::super) const DATASPACE: u16 = 0x01;
    pub(in super::super) const LINK_INFO: u16 = 0x02;
    pub(in super::super) const DATATYPE: u16 = 0x03;
    pub(in super::super) const LINK: u16 = 0x06;
    pub(in super::super) const EXTERNAL_FILES: u16 = 0x07;
    pub(in super::super) const LAYOUT: u16 = 0x08;
    pub(in super::super) const FILTERS: u16 = 0x0b;
    pub(in super::super) const CONTINUATION: u16 = 0x10;
    pub(in super::super) const SYMBOL_TABLE: u16 = 0x11;
}

/// Blocks of a header.
const BLOCKS_MAX: usize = 1000;
/// Messages of a header.
const MESSAGES_MAX: usize = 4_000;
/// Says that a message lies elsewhere.
const SHARED: u8 = 0x02;

/// A message of a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub kind: u16,
    pub shared: bool,
    pub body: Bytes<'a>,
}

/// The first message of a kind.
pub(super) fn find<'a>(messages: &[Message<'a>], kind: u16) -> Option<Message<'a>> {
    messages.iter().find(|message| message.kind == kind).copied()
}

/// The messages of the header at an address.
pub(super) fn messages(bytes: Bytes<'_>, address: u64) -> Read<Vec<Message<'_>>> {
    let header = bytes.from(address)?;
    if header.0.starts_with(b"OHDR") { modern(bytes, header) } else { classic(bytes, address) }
}

fn classic(bytes: Bytes<'_>, address: u64) -> Read<Vec<Message<'_>>> {
    let header = bytes.from(address)?;
    let version = header.u8(0)?;
    if version != 1 {
        return Err(format!("it is damaged: the header at {address} has version {version}"));
    }
    let mut blocks = vec![header.part(16, u64::from(header.u32(8)?))?];
    collect(bytes, &mut blocks, |block, messages, continued| {
        let mut at = 0;
        while at + 8 <= block.0.len() as u64 {
            let size = u64::from(block.u16(at + 2)?);
            let body = block.part(at + 8, size)?;
            let message = Message { kind: block.u16(at)?, shared: block.u8(at + 4)? & SHARED != 0, body };
            push(message, messages, continued)?;
            at += 8 + size;
        }
        Ok(())
    })
}

fn modern<'a>(bytes: Bytes<'a>, header: Bytes<'a>) -> Read<Vec<Message<'a>>> {
    let (version, flags) = (header.u8(4)?, header.u8(5)?);
    if version != 2 {
        return Err(format!("a header in it has version {version}, which is unknown"));
    }
    let times = if flags & 0x20 != 0 { 16 } else { 0 };
    let limits = if flags & 0x10 != 0 { 4 } else { 0 };
    let at = 6 + times + limits;
    let width = 1 << (flags & 3);
    let mut blocks = vec![header.part(at + width, header.number(at, width)?)?];
    // Where messages are counted, each says its number.
    let numbered = if flags & 0x04 != 0 { 2 } else { 0 };
    collect(bytes, &mut blocks, |block, messages, continued| {
        // Another block begins with its mark and ends with a checksum.
        let block = match block.0.strip_prefix(b"OCHK") {
            Some(rest) => Bytes(rest).part(0, (rest.len() as u64).saturating_sub(4))?,
            None => block,
        };
        let mut at = 0;
        while at + 4 + numbered <= block.0.len() as u64 {
            let size = u64::from(block.u16(at + 1)?);
            let body = block.part(at + 4 + numbered, size)?;
            let message =
                Message { kind: u16::from(block.u8(at)?), shared: block.u8(at + 3)? & SHARED != 0, body };
            push(message, messages, continued)?;
            at += 4 + numbered + size;
        }
        Ok(())
    })
}

/// Reads block after block; what a block says of further ones is appended.
fn collect<'a>(
    bytes: Bytes<'a>,
    blocks: &mut Vec<Bytes<'a>>,
    read: impl Fn(Bytes<'a>, &mut Vec<Message<'a>>, &mut Vec<(u64, u64)>) -> Read<()>,
) -> Read<Vec<Message<'a>>> {
    let (mut messages, mut seen) = (Vec::new(), 0);
    while let Some(block) = blocks.pop() {
        seen += 1;
        if seen > BLOCKS_MAX {
            return Err(format!("a header in it has more than {BLOCKS_MAX} parts"));
        }
        let mut continued = Vec::new();
        read(block, &mut messages, &mut continued)?;
        for (at, length) in continued {
            blocks.push(bytes.part(at, length)?);
        }
    }
    Ok(messages)
}

fn push<'a>(
    message: Message<'a>,
    messages: &mut Vec<Message<'a>>,
    continued: &mut Vec<(u64, u64)>,
) -> Read<()> {
    if message.kind == kind::CONTINUATION {
        continued.push((message.body.u64(0)?, message.body.u64(8)?));
    }
    messages.push(message);
    match messages.len() > MESSAGES_MAX {
        true => Err(format!("a header in it has more than {MESSAGES_MAX} messages")),
        false => Ok(()),
    }
}
