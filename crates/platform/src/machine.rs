//! Vertex AI machine types, by name, as cores and memory; and what this machine has.

use registry::DeploymentLimits;

use crate::{Error, Result};

/// Cores of a deployment that asks for nothing.
pub const DEFAULT_CPU_CORES: f64 = 2.0;
/// Memory of a deployment that asks for nothing, in GB (10^9 bytes).
pub const DEFAULT_MEMORY_GB: f64 = 4.0;

/// No machine has more: a number beyond this is no budget, in GB (10^9 bytes).
const MEMORY_GB_MAX: f64 = 1e6;

/// What a deployment asks for; nothing given means the defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceRequest {
    /// Engine threads.
    pub cpu_cores: Option<f64>,
    /// Memory budget in GB (10^9 bytes).
    pub memory_gb: Option<f64>,
    /// A Vertex AI machine type, used for what is not given directly: `n1-standard-2`.
    pub machine_type: Option<String>,
    /// What it takes at once.
    pub limits: DeploymentLimits,
}

impl ResourceRequest {
    /// Cores and memory in GB: what is given directly, else the machine type's, else the defaults.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] for an unknown machine type, a number that is not positive and finite, or more than 10^6 GB.
    pub fn resolve(&self) -> Result<(f64, f64)> {
        let machine = self.machine_type.as_deref().map(machine).transpose()?;
        let cores = self.cpu_cores.or(machine.map(|m| m.0)).unwrap_or(DEFAULT_CPU_CORES);
        let memory = self.memory_gb.or(machine.map(|m| m.1)).unwrap_or(DEFAULT_MEMORY_GB);
        for (field, value) in [("cpu_cores", cores), ("memory_gb", memory)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::invalid(field, format!("{field} must be a positive number, got {value}")));
            }
        }
        if memory > MEMORY_GB_MAX {
            let message = format!("memory_gb must be at most {MEMORY_GB_MAX}, got {memory:e}");
            return Err(Error::invalid("memory_gb", message));
        }
        Ok((cores, memory))
    }
}

/// A series of machine types whose memory grows with their cores.
struct Family {
    /// `n1-standard`
    name: &'static str,
    gb_per_core: f64,
    cores: &'static [u32],
}

const fn family(name: &'static str, gb_per_core: f64, cores: &'static [u32]) -> Family {
    Family { name, gb_per_core, cores }
}

/// Google's machine families (<https://cloud.google.com/compute/docs/machine-resource>, the pages of each series).
const FAMILIES: &[Family] = &[
    family("n1-standard", 3.75, &[1, 2, 4, 8, 16, 32, 64, 96]),
    family("n1-highmem", 6.5, &[2, 4, 8, 16, 32, 64, 96]),
    family("n1-highcpu", 0.9, &[2, 4, 8, 16, 32, 64, 96]),
    family("n2-standard", 4.0, &[2, 4, 8, 16, 32, 48, 64, 80, 96, 128]),
    family("n2-highmem", 8.0, &[2, 4, 8, 16, 32, 48, 64, 80, 96]),
    family("n2-highcpu", 1.0, &[2, 4, 8, 16, 32, 48, 64, 80, 96]),
    family("n2d-standard", 4.0, &[2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224]),
    family("n2d-highmem", 8.0, &[2, 4, 8, 16, 32, 48, 64, 80, 96]),
    family("n2d-highcpu", 1.0, &[2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224]),
    family("e2-standard", 4.0, &[2, 4, 8, 16, 32]),
    family("e2-highmem", 8.0, &[2, 4, 8, 16]),
    family("e2-highcpu", 1.0, &[2, 4, 8, 16, 32]),
    family("c2-standard", 4.0, &[4, 8, 16, 30, 60]),
    family("c2d-standard", 4.0, &[2, 4, 8, 16, 32, 56, 112]),
    family("c2d-highmem", 8.0, &[2, 4, 8, 16, 32, 56, 112]),
    family("c2d-highcpu", 2.0, &[2, 4, 8, 16, 32, 56, 112]),
    family("c3-standard", 4.0, &[4, 8, 22, 44, 88, 176]),
    family("c3-highmem", 8.0, &[4, 8, 22, 44, 88, 176]),
    family("c3-highcpu", 2.0, &[4, 8, 22, 44, 88, 176]),
    family("g2-standard", 4.0, &[4, 8, 12, 16, 24, 32, 48, 96]),
];

/// Machine types whose memory does not follow their cores. Of those with accelerators only the cores and the memory count.
const OTHERS: &[(&str, f64, f64)] = &[
    ("n2-highmem-128", 128.0, 864.0),
    ("m1-ultramem-40", 40.0, 961.0),
    ("m1-ultramem-80", 80.0, 1922.0),
    ("m1-ultramem-160", 160.0, 3844.0),
    ("m1-megamem-96", 96.0, 1433.6),
    ("a2-highgpu-1g", 12.0, 85.0),
    ("a2-highgpu-2g", 24.0, 170.0),
    ("a2-highgpu-4g", 48.0, 340.0),
    ("a2-highgpu-8g", 96.0, 680.0),
    ("a2-megagpu-16g", 96.0, 1360.0),
    ("a2-ultragpu-1g", 12.0, 170.0),
    ("a2-ultragpu-2g", 24.0, 340.0),
    ("a2-ultragpu-4g", 48.0, 680.0),
    ("a2-ultragpu-8g", 96.0, 1360.0),
    ("a3-highgpu-8g", 208.0, 1872.0),
];

/// Cores and GB of a machine type.
fn machine(name: &str) -> Result<(f64, f64)> {
    if let Some((_, cores, gb)) = OTHERS.iter().find(|(other, _, _)| *other == name) {
        return Ok((*cores, *gb));
    }
    let (series, cores) = name.rsplit_once('-').unwrap_or((name, ""));
    let family = FAMILIES.iter().find(|family| family.name == series);
    let sized = family.and_then(|family| {
        let found = family.cores.iter().find(|known| known.to_string() == cores)?;
        Some((f64::from(*found), f64::from(*found) * family.gb_per_core))
    });
    sized.ok_or_else(|| {
        let known = match family {
            Some(family) => {
                let sizes: Vec<String> = family.cores.iter().map(u32::to_string).collect();
                format!("{} has {} cores", family.name, sizes.join(", "))
            }
            None => {
                let families: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
                format!("known are {}-N, m1, a2 and a3 types", families.join("-N, "))
            }
        };
        let message = format!("unknown machine type \"{name}\"; {known}; or give cpu_cores and memory_gb");
        Error::invalid("machineType", message)
    })
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
            ..ResourceRequest::default()
        };
        assert_eq!(ask(None, None, None).resolve().unwrap(), (2.0, 4.0));
        assert_eq!(ask(None, None, Some("n1-standard-2")).resolve().unwrap(), (2.0, 7.5));
        assert_eq!(ask(Some(1.0), None, Some("n1-standard-4")).resolve().unwrap(), (1.0, 15.0));
        assert!(ask(None, None, Some("n1-standard-3")).resolve().is_err());
        assert!(ask(Some(0.0), None, None).resolve().is_err());
        assert!(ask(None, Some(f64::NAN), None).resolve().is_err());
        assert_eq!(ask(None, Some(1e6), None).resolve().unwrap(), (2.0, 1e6));
        let beyond = ask(None, Some(1e300), None).resolve().unwrap_err().to_string();
        assert!(beyond.contains("memory_gb must be at most 1000000, got 1e300"), "{beyond}");
    }

    #[test]
    fn machine_types_are_as_google_lists_them() {
        for (name, cores, gb) in [
            ("n1-highmem-8", 8.0, 52.0),
            ("n1-highcpu-16", 16.0, 14.4),
            ("n2-standard-32", 32.0, 128.0),
            ("n2-highmem-128", 128.0, 864.0),
            ("n2d-highcpu-224", 224.0, 224.0),
            ("e2-standard-2", 2.0, 8.0),
            ("c2-standard-30", 30.0, 120.0),
            ("c2d-highcpu-112", 112.0, 224.0),
            ("c3-highmem-22", 22.0, 176.0),
            ("m1-ultramem-40", 40.0, 961.0),
            ("a2-highgpu-1g", 12.0, 85.0),
        ] {
            assert_eq!(machine(name).unwrap(), (cores, gb), "{name}");
        }
        for (name, words) in [
            ("n1-standard-3", "n1-standard has 1, 2, 4, 8, 16, 32, 64, 96 cores; or give cpu_cores"),
            ("n1-standard-02", "n1-standard has"),
            ("n1-standard", "known are n1-standard-N, n1-highmem-N"),
            ("z9-standard-4", "known are"),
            ("", "known are"),
        ] {
            let error = machine(name).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.violations()[0].field, "machineType");
        }
    }
}
