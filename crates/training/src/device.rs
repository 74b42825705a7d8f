//! What a fit computes on: the CPU, or a graphics card in a build that has one of the features `wgpu` and `cuda`.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::tensor::DeviceType;
use serde::Serialize;

use crate::Error;

/// What a fit computes on. Weights and optimizer stay in the memory of the CPU; batches and gradients travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ComputeDevice {
    /// The CPU: the same bytes on any number of threads.
    #[default]
    Cpu,
    /// The graphics card of this number, from 0. Sums are in another order than on the CPU, and not always in the same.
    Gpu(usize),
}

impl ComputeDevice {
    /// Makes it ready.
    ///
    /// # Errors
    /// [`Error::Device`] if this build has no support for a graphics card, or the machine no such card.
    pub(crate) fn open(self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Gpu(number) => gpu(number),
        }
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
fn gpu(number: usize) -> Result<Device, Error> {
    let way_out = "this build computes on the CPU alone; build it with `cargo build --release --features wgpu` (Vulkan, \
                   Metal or DirectX) or `--features cuda` (NVIDIA), or leave the device out"
        .to_owned();
    Err(Error::Device { device: ComputeDevice::Gpu(number), reason: way_out })
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn gpu(number: usize) -> Result<Device, Error> {
    #[cfg(feature = "cuda")]
    let (kind, feature, needs) = (DeviceType::Cuda, "cuda", "an NVIDIA card and its driver");
    #[cfg(not(feature = "cuda"))]
    let (kind, feature, needs) =
        (DeviceType::Wgpu, "wgpu", "a card with a driver for Vulkan, Metal or DirectX 12");
    let found = Device::enumerate(kind);
    let count = found.len();
    found.into_iter().nth(number).ok_or_else(|| {
        let reason = format!(
            "the feature `{feature}` of this build finds {count} of them here; it needs {needs}. Install the driver, name \
             one that is there, or leave the device out to compute on the CPU"
        );
        Error::Device { device: ComputeDevice::Gpu(number), reason }
    })
}

impl fmt::Display for ComputeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(number) => write!(f, "gpu:{number}"),
        }
    }
}

impl FromStr for ComputeDevice {
    type Err = String;

    /// `cpu`, `gpu` (the first one) or `gpu:N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |digits: &str| digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
        let known = match text.split_once(':') {
            None if text == "cpu" => Some(Self::Cpu),
            None if text == "gpu" => Some(Self::Gpu(0)),
            Some(("gpu", digits)) => number(digits).map(Self::Gpu),
            _ => None,
        };
        known.ok_or_else(|| format!("\"{text}\" is no device; write cpu, gpu or gpu:1"))
    }
}

impl Serialize for ComputeDevice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What tests compute on: the CPU, or what the environment variable `BELLWETHER_TEST_DEVICE` names.
///
/// # Panics
/// If that device cannot be had: the tests would pass without having run on it.
#[doc(hidden)]
pub fn device_of_tests() -> ComputeDevice {
    match std::env::var("BELLWETHER_TEST_DEVICE") {
        Ok(name) => name.parse().expect("BELLWETHER_TEST_DEVICE names a device"),
        Err(_) => ComputeDevice::Cpu,
    }
}

#[cfg(test)]
pub(crate) fn open_for_tests() -> Device {
    device_of_tests().open().expect("the device of BELLWETHER_TEST_DEVICE is there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (text, device) in [
            ("cpu", ComputeDevice::Cpu),
            ("gpu:0", ComputeDevice::Gpu(0)),
            ("gpu:12", ComputeDevice::Gpu(12)),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("gpu".parse(), Ok(ComputeDevice::Gpu(0)));
        for text in ["", "tpu", "gpu:", "gpu:-1", "gpu:+1", "gpu:x", "cpu:0", "GPU"] {
            assert!(text.parse::<ComputeDevice>().unwrap_err().contains("write cpu, gpu or gpu:1"), "{text}");
        }
    }

    #[test]
    fn a_card_that_is_not_there_is_refused_with_the_feature() {
        let refusal = ComputeDevice::Gpu(99).open().unwrap_err().to_string();
        assert!(refusal.contains("gpu:99"), "{refusal}");
        assert!(refusal.contains("wgpu") || refusal.contains("cuda"), "{refusal}");
    }
}
