//! The members of a group: a tree of tables of names, or links in its header.

use super::bytes::{Bytes, Read, UNDEFINED, text};
use super::header::{Message, find, kind};

/// Nodes of one tree of names.
const NODES_MAX: usize = 10_000;
/// Bytes of an entry of a table.
const ENTRY_BYTES: u64 = 40;
/// What a table says of a name that stands for another one.
const SOFT_LINK: u32 = 2;

/// Whether a header is that of a group.
pub(super) fn is(messages: &[Message<'_>]) -> bool {
    messages.iter().any(|message| matches!(message.kind, kind::SYMBOL_TABLE | kind::LINK | kind::LINK_INFO))
}

/// Names and addresses of headers. Names that stand for others, here or in other files, are left out.
pub(super) fn members(bytes: Bytes<'_>, messages: &[Message<'_>]) -> Read<Vec<(String, u64)>> {
    let mut members = Vec::new();
    if let Some(table) = find(messages, kind::SYMBOL_TABLE) {
        tables(bytes, table.body.u64(0)?, table.body.u64(8)?, &mut members)?;
    }
    for message in messages.iter().filter(|message| message.kind == kind::LINK) {
        members.extend(link(message.body)?);
    }
    if let Some(info) = find(messages, kind::LINK_INFO) {
        let flags = info.body.u8(1)?;
        let at = if flags & 1 != 0 { 10 } else { 2 };
        if info.body.u64(at)? != UNDEFINED {
            let way_out =
                "a group of it holds its members in a heap, which is not read; save the model with Keras";
            return Err(way_out.to_owned());
        }
    }
    Ok(members)
}

fn tables(bytes: Bytes<'_>, tree: u64, heap: u64, members: &mut Vec<(String, u64)>) -> Read<()> {
    let heap = bytes.marked(heap, b"HEAP")?;
    let names = bytes.part(heap.u64(20)?, heap.u64(4)?)?;
    let (mut open, mut seen) = (vec![tree], 0);
    while let Some(address) = open.pop() {
        seen += 1;
        if seen > NODES_MAX {
            return Err(format!("a group of it has more than {NODES_MAX} tables"));
        }
        if let Ok(table) = bytes.marked(address, b"SNOD") {
            for at in 0..u64::from(table.u16(2)?) {
                let entry = table.part(4 + at * ENTRY_BYTES, ENTRY_BYTES)?;
                if members.len() == super::OBJECTS_MAX {
                    return Err(format!("a group of it has more than {} members", super::OBJECTS_MAX));
                }
                if entry.u32(16)? != SOFT_LINK {
                    members.push((names.name(entry.u64(0)?)?, entry.u64(8)?));
                }
            }
            continue;
        }
        let node = bytes.marked(address, b"TREE")?;
        if node.u8(0)? != 0 {
            return Err("it is damaged: a tree of names is one of something else".to_owned());
        }
        for at in 0..u64::from(node.u16(2)?) {
            // Keys and children take turns, behind 20 bytes and the first key.
            open.push(node.u64(28 + at * 16)?);
        }
    }
    Ok(())
}

fn link(body: Bytes<'_>) -> Read<Option<(String, u64)>> {
    const HARD: u8 = 0;
    let flags = body.u8(1)?;
    let mut at = 2;
    let mut kind = HARD;
    if flags & 0x08 != 0 {
        kind = body.u8(at)?;
        at += 1;
    }
    if flags & 0x04 != 0 {
        at += 8;
    }
    if flags & 0x10 != 0 {
        at += 1;
    }
    let width = 1 << (flags & 3);
    let length = body.number(at, width)?;
    at += width;
    let name = text(body.part(at, length)?.0)?;
    match kind {
        HARD => Ok(Some((name, body.u64(at + length)?))),
        _ => Ok(None),
    }
}
