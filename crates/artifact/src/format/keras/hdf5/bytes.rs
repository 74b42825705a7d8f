//! Numbers at places of a file, each checked against its end.

/// A result, or what is wrong in words.
pub(in crate::format::keras) type Read<T> = Result<T, String>;

/// The address that stands for none.
pub(super) const UNDEFINED: u64 = u64::MAX;

/// A file, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// A part.
    pub(super) fn part(self, at: u64, length: u64) -> Read<Bytes<'a>> {
        let place = |at: u64| usize::try_from(at).ok();
        let end = at.checked_add(length).and_then(place);
        let part = place(at).zip(end).and_then(|(at, end)| self.0.get(at..end));
        part.map(Bytes)
            .ok_or_else(|| format!("it is damaged or cut off: {length} bytes at {at} of {}", self.0.len()))
    }

    /// What follows from a place on.
    pub(super) fn from(self, at: u64) -> Read<Bytes<'a>> {
        self.part(at, (self.0.len() as u64).saturating_sub(at))
    }

    pub(super) fn u8(self, at: u64) -> Read<u8> {
        Ok(self.part(at, 1)?.0[0])
    }

    pub(super) fn u16(self, at: u64) -> Read<u16> {
        Ok(self.number(at, 2)? as u16)
    }

    pub(super) fn u32(self, at: u64) -> Read<u32> {
        Ok(self.number(at, 4)? as u32)
    }

    pub(super) fn u64(self, at: u64) -> Read<u64> {
        self.number(at, 8)
    }

    /// A number of up to 8 bytes.
    pub(super) fn number(self, at: u64, bytes: u64) -> Read<u64> {
        let part = self.part(at, bytes)?.0;
        Ok(part.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A part that begins with a mark, behind it.
    pub(super) fn marked(self, at: u64, mark: &[u8; 4]) -> Read<Bytes<'a>> {
        let part = self.from(at)?;
        match part.0.strip_prefix(mark) {
            Some(rest) => Ok(Bytes(rest)),
            None => {
                let mark = String::from_utf8_lossy(mark);
                Err(format!("it is damaged: no {mark} at {at}"))
            }
        }
    }

    /// A name that ends with a zero.
    pub(super) fn name(self, at: u64) -> Read<String> {
        let rest = self.from(at)?.0;
        let end = rest.iter().position(|byte| *byte == 0).ok_or("it is damaged: a name has no end")?;
        text(&rest[..end])
    }
}

/// A name of an object.
pub(super) fn text(bytes: &[u8]) -> Read<String> {
    const NAME_MAX: usize = 255;
    match std::str::from_utf8(bytes) {
        Ok(name) if !name.is_empty() && name.len() <= NAME_MAX => Ok(name.to_owned()),
        _ => Err("a name in it is empty, too long or no text".to_owned()),
    }
}
