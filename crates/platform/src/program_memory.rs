//! The program's memory: an allocator that counts what each thread takes, and pages that are given back.
//!
//! What a model takes is measured by counting ([`CountingAllocator`]): the growth of the process hides what is taken from memory freed before.
//!
//! A start goes through a good part of the program once: arguments, registry, models. The kernel maps 64 KiB around each
//! place that is touched and keeps them mapped, more than half of what an idle server holds. What is asked for again is
//! mapped again from the page cache, at a microsecond or two for 64 KiB.
//!
//! This is the one place with `unsafe` code: no safe interface offers either.

#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

use std::alloc::{GlobalAlloc, Layout};
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

/// An allocator that tells [`serving::count_allocated`] what each thread takes and gives back.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountingAllocator<A>(pub A);

/// No allocation is larger than `isize::MAX`.
fn count(bytes: usize) -> i64 {
    bytes as i64
}

// SAFETY: every call is passed on as it came, and what it gave is returned as it was; the counting neither allocates nor panics.
#[allow(unsafe_code)]
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        serving::count_allocated(count(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        serving::count_allocated(-count(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        serving::count_allocated(count(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        serving::count_allocated(count(size) - count(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { self.0.realloc(place, layout, size) }
    }
}

/// A mapping of memory, as `/proc/self/smaps` tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    addresses: Range<usize>,
    permissions: &'a str,
    path: &'a str,
    /// KiB that are no longer what the file has.
    changed: Option<u64>,
}

/// Unmaps what is mapped of the program's own code and constants; what is used again comes back by itself.
///
/// Memory stays as it is where the system does not say what it is.
#[cfg(target_os = "linux")]
pub fn release_program_pages() {
    // They stay where they are, and as they are, as long as the process lives.
    static PROGRAM: OnceLock<Vec<Range<usize>>> = OnceLock::new();
    for addresses in PROGRAM.get_or_init(|| program().unwrap_or_default()) {
        if let Err(error) = release(addresses.clone()) {
            tracing::debug!(%error, "cannot give back pages of the program");
        }
    }
}

#[cfg(target_os = "linux")]
fn program() -> std::io::Result<Vec<Range<usize>>> {
    let file = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/smaps")?;
    Ok(file.to_str().map(|file| unchanged(&mappings(&maps), file)).unwrap_or_default())
}

/// Nothing to give back here.
#[cfg(not(target_os = "linux"))]
pub fn release_program_pages() {}

/// Addresses of a file's mappings that nobody may write to and nobody has written to.
fn unchanged(mappings: &[Mapping<'_>], file: &str) -> Vec<Range<usize>> {
    let whole = |mapping: &&Mapping<'_>| {
        mapping.path == file && matches!(mapping.permissions, "r-xp" | "r--p") && mapping.changed == Some(0)
    };
    mappings.iter().filter(whole).map(|mapping| mapping.addresses.clone()).collect()
}

/// The mappings of `/proc/PID/smaps`: a line of addresses and path, then lines of `Name: VALUE kB`.
fn mappings(smaps: &str) -> Vec<Mapping<'_>> {
    let mut mappings: Vec<Mapping<'_>> = Vec::new();
    for line in smaps.lines() {
        if let Some(mapping) = mapping(line) {
            mappings.push(mapping);
        } else if let (Some(changed), Some(last)) = (line.strip_prefix("Anonymous:"), mappings.last_mut()) {
            last.changed = changed.trim().strip_suffix(" kB").and_then(|text| text.parse().ok());
        }
    }
    mappings
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let mut fields = rest.splitn(5, ' ');
    let permissions = fields.next()?;
    let path = fields.nth(3).unwrap_or_default().trim_start();
    Some(Mapping { addresses: address(start)?..address(end)?, permissions, path, changed: None })
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn release(addresses: Range<usize>) -> std::io::Result<()> {
    use rustix::mm::{Advice, madvise};

    let start = std::ptr::with_exposed_provenance_mut(addresses.start);
    // SAFETY: the range is a whole mapping of the program's own file, which is mapped as long as the process lives. It is
    // private, nobody may write to it, and none of its pages differs from the file, so whoever reads it afterwards
    // reads the same bytes again; the kernel does not let a running program's file be written to.
    unsafe { madvise(start, addresses.len(), Advice::LinuxDontNeed) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c4200000-55d0c5000000 r--p 00000000 fe:00 1234                       /opt/a program
Rss:                3956 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
55d0c5000000-55d0c8000000 r-xp 00f2a000 fe:00 1234                       /opt/a program
Anonymous:             0 kB
55d0c8000000-55d0c8160000 r--p 03eca000 fe:00 1234                       /opt/a program
Anonymous:          1400 kB
55d0c8160000-55d0c816b000 rw-p 0402a000 fe:00 1234                       /opt/a program
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 fe:00 99                         /lib/libc.so.6
Anonymous:             0 kB
7f0000002000-7f0000003000 rw-p 00000000 00:00 0
Anonymous:             4 kB
";

    #[test]
    fn only_what_is_as_in_the_file_is_given_back() {
        let mappings = mappings(SMAPS);
        assert_eq!(mappings.len(), 6);
        assert_eq!((mappings[5].path, mappings[2].changed), ("", Some(1400)));
        let given_back = unchanged(&mappings, "/opt/a program");
        assert_eq!(given_back, [0x55d0_c420_0000..0x55d0_c500_0000, 0x55d0_c500_0000..0x55d0_c800_0000]);
        assert!(unchanged(&mappings, "/opt/a").is_empty());
    }

    #[test]
    fn what_the_system_does_not_say_is_not_touched() {
        let silent = SMAPS.replace("Anonymous:             0 kB\n", "");
        assert!(unchanged(&mappings(&silent), "/opt/a program").is_empty());
        assert!(mappings("no smaps at all\n-\nx-y r-xp\n").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_program_goes_on_and_holds_less() {
        let resident = || {
            let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let program = std::fs::read_link("/proc/self/exe").unwrap();
            let code = maps.split(" r-xp ").find(|rest| {
                let first = rest.lines().next().unwrap_or_default();
                first.ends_with(program.to_str().unwrap())
            });
            let rss = code.unwrap().lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
            rss.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap()
        };
        // Sorting touches some code, formatting other.
        let mut numbers: Vec<u64> = (0..1000).map(|n| n * 7919 % 1009).collect();
        // Other tests run code meanwhile.
        let holds_less = (0..20).any(|_| {
            let before = resident();
            release_program_pages();
            resident() < before
        });
        assert!(holds_less);
        numbers.sort_unstable();
        assert!(numbers.is_sorted() && format!("{numbers:?}").len() > 1000);
    }
}
