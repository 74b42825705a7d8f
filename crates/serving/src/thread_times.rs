//! What the system knows of how a thread got on.

use std::time::Duration;

/// How long a thread ran, and how long it could have and had no core, by what `/proc` calls it: `thread-self`, or `self/task/ID`. See
/// `proc_pid_schedstat(5)`; nothing where the system does not say.
pub fn thread_times(thread: &str) -> Option<(Duration, Duration)> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).ok()?;
    let mut nanoseconds = text.split_whitespace().map_while(|number| number.parse().ok());
    Some((Duration::from_nanos(nanoseconds.next()?), Duration::from_nanos(nanoseconds.next()?)))
}
