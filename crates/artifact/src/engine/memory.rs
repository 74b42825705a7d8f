//! How much memory this process uses. On Linux the kernel is asked; elsewhere nothing is measured.

/// Bytes of physical memory this process uses now; `None` where that cannot be measured.
pub fn resident_bytes() -> Option<u64> {
    kilobytes_line(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The figure of a line `NAME:   123 kB` of a file under `/proc`, in bytes.
pub fn kilobytes_line(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let text = "VmPeak:\t  999 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(kilobytes_line(text, "VmRSS:"), Some(12 * 1024));
        assert_eq!(kilobytes_line(text, "VmSwap:"), None);
        assert_eq!(kilobytes_line("VmRSS: many kB", "VmRSS:"), None);
    }
}
