//! Names: which accelerators there are, and which one the user wants.

use std::fmt;
use std::str::FromStr;

/// One of ONNX Runtime's execution providers, set up in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// ONNX Runtime's own kernels on the processor: to compare with, seldom to win.
    Cpu,
    /// NVIDIA, through CUDA and cuDNN.
    Cuda,
    /// NVIDIA, through TensorRT, which builds an engine for lengths it has not seen.
    TensorRt,
    /// Apple's Core ML, which chooses among all of its units.
    CoreMlAll,
    /// Core ML on processor and GPU.
    CoreMlGpu,
    /// Core ML on processor and Neural Engine.
    CoreMlAne,
    /// Any GPU on Windows, through DirectX 12.
    DirectMl,
    /// Intel's processors, GPUs and NPUs.
    OpenVino,
}

impl Provider {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Cuda,
        Self::TensorRt,
        Self::CoreMlAll,
        Self::CoreMlGpu,
        Self::CoreMlAne,
        Self::DirectMl,
        Self::OpenVino,
    ];

    /// What the setting calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
            Self::CoreMlAll => "coreml-all",
            Self::CoreMlGpu => "coreml-gpu",
            Self::CoreMlAne => "coreml-ane",
            Self::DirectMl => "directml",
            Self::OpenVino => "openvino",
        }
    }

    /// What counters and logs call its sessions; never the same as the native kind's.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Cpu => "onnx-cpu",
            other => other.name(),
        }
    }

    /// The accelerators that this platform can have, the best first. ONNX Runtime's own processor
    /// kernels are none. TensorRT comes last, because it may take minutes to build an engine.
    pub fn of_this_platform() -> &'static [Self] {
        if cfg!(target_vendor = "apple") {
            &[Self::CoreMlAll, Self::CoreMlGpu, Self::CoreMlAne]
        } else if cfg!(windows) {
            &[Self::Cuda, Self::DirectMl, Self::OpenVino, Self::TensorRt]
        } else {
            &[Self::Cuda, Self::OpenVino, Self::TensorRt]
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the user wants: `KOKORO_ACCELERATOR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Accelerator {
    /// The native engine alone.
    #[default]
    Off,
    /// The first of [`Provider::of_this_platform`] that works.
    Auto,
    /// This one.
    Only(Provider),
}

impl Accelerator {
    /// What may be tried, in order.
    pub fn candidates(self) -> Vec<Provider> {
        match self {
            Self::Off => Vec::new(),
            Self::Auto => Provider::of_this_platform().to_vec(),
            Self::Only(provider) => vec![provider],
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Auto => f.write_str("auto"),
            Self::Only(provider) => provider.fmt(f),
        }
    }
}

/// A word that names no accelerator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no accelerator {0:?}; there are off, auto, {names}", names = names())]
pub struct UnknownAccelerator(pub String);

fn names() -> String {
    Provider::ALL.map(Provider::name).join(", ")
}

impl FromStr for Accelerator {
    type Err = UnknownAccelerator;

    fn from_str(name: &str) -> Result<Self, UnknownAccelerator> {
        let lower = name.trim().to_ascii_lowercase();
        match lower.as_str() {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            other => Provider::ALL
                .into_iter()
                .find(|provider| other == provider.name() || other == provider.kind())
                .map(Self::Only)
                .ok_or_else(|| UnknownAccelerator(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read_as_it_is_written() {
        let all = Provider::ALL.map(Accelerator::Only);
        for accelerator in [&[Accelerator::Off, Accelerator::Auto], &all[..]].concat() {
            assert_eq!(accelerator.to_string().parse(), Ok(accelerator));
        }
        assert_eq!(" CUDA ".parse(), Ok(Accelerator::Only(Provider::Cuda)));
        assert_eq!("onnx-cpu".parse(), Ok(Accelerator::Only(Provider::Cpu)));
        let error = "gpu".parse::<Accelerator>().unwrap_err().to_string();
        assert!(error.contains("\"gpu\"") && error.contains("coreml-ane"), "{error}");
    }

    #[test]
    fn auto_never_means_the_processor() {
        assert!(!Accelerator::Auto.candidates().contains(&Provider::Cpu));
        assert!(!Accelerator::Auto.candidates().is_empty());
        assert!(Accelerator::Off.candidates().is_empty());
    }
}
