//! Vertex AI machine types, by name, as cores and memory.

use crate::{Error, Result};

/// Cores of a deployment that asks for nothing.
pub const DEFAULT_CPU_CORES: f64 = 2.0;
/// Memory of a deployment that asks for nothing, in GB (10^9 bytes).
pub const DEFAULT_MEMORY_GB: f64 = 4.0;

/// What a deployment asks for; nothing given means the defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceRequest {
    /// Engine threads.
    pub cpu_cores: Option<f64>,
    /// Memory budget in GB (10^9 bytes).
    pub memory_gb: Option<f64>,
    /// A Vertex AI machine type, used for what is not given directly: `n1-standard-2`.
    pub machine_type: Option<String>,
}

impl ResourceRequest {
    /// Cores and memory in GB: what is given directly, else the machine type's, else the defaults.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] for an unknown machine type or a number that is not positive and finite.
    pub fn resolve(&self) -> Result<(f64, f64)> {
        let machine = match &self.machine_type {
            Some(name) => Some(machine(name).ok_or_else(|| {
                Error::invalid(
                    "machineType",
                    format!("unknown machine type \"{name}\"; known are n1|n2|e2-standard|highmem|highcpu-N, or give cpu_cores and memory_gb"),
                )
            })?),
            None => None,
        };
        let cores = self.cpu_cores.or(machine.map(|m| m.0)).unwrap_or(DEFAULT_CPU_CORES);
        let memory = self.memory_gb.or(machine.map(|m| m.1)).unwrap_or(DEFAULT_MEMORY_GB);
        for (field, value) in [("cpu_cores", cores), ("memory_gb", memory)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::invalid(field, format!("{field} must be a positive number, got {value}")));
            }
        }
        Ok((cores, memory))
    }
}

/// Cores and GB of a general-purpose machine type (`n1`, `n2`, `e2`; standard, highmem, highcpu), as
/// Google's machine table gives them: memory grows with the cores.
fn machine(name: &str) -> Option<(f64, f64)> {
    let mut parts = name.split('-');
    let (series, kind, cores) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let cores: u32 = cores.parse().ok().filter(|n| [1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128].contains(n))?;
    let gb_per_core = match (series, kind) {
        ("n1", "standard") => 3.75,
        ("n1", "highmem") => 6.5,
        ("n1", "highcpu") => 0.9,
        ("n2" | "e2", "standard") => 4.0,
        ("n2" | "e2", "highmem") => 8.0,
        ("n2" | "e2", "highcpu") => 1.0,
        _ => return None,
    };
    Some((f64::from(cores), f64::from(cores) * gb_per_core))
}

/// Says whether this process's memory may come in huge pages: they speed training up, and would have an idle server hold
/// tens of MB that it does not use. A process inherits the choice of its parent, so each makes its own.
#[cfg(target_os = "linux")]
pub fn use_huge_pages(wanted: bool) {
    // Where the kernel does not know the choice there is none.
    let _ = rustix::thread::disable_transparent_huge_pages(!wanted);
}

/// Nothing to choose here.
#[cfg(not(target_os = "linux"))]
pub fn use_huge_pages(_wanted: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_type_fills_what_is_not_given() {
        let ask = |cpu, memory, machine: Option<&str>| ResourceRequest {
            cpu_cores: cpu,
            memory_gb: memory,
            machine_type: machine.map(str::to_owned),
        };
        assert_eq!(ask(None, None, None).resolve().unwrap(), (2.0, 4.0));
        assert_eq!(ask(None, None, Some("n1-standard-2")).resolve().unwrap(), (2.0, 7.5));
        assert_eq!(ask(Some(1.0), None, Some("n1-standard-4")).resolve().unwrap(), (1.0, 15.0));
        assert!(ask(None, None, Some("n1-standard-3")).resolve().is_err());
        assert!(ask(Some(0.0), None, None).resolve().is_err());
        assert!(ask(None, Some(f64::NAN), None).resolve().is_err());
    }
}
