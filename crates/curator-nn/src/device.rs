//! Devices, threads, and what `doctor` says about libtorch.

use std::path::PathBuf;

use curator_core::DeviceChoice;
use curator_core::doctor::Check;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::{Error, Result};

/// The device for a choice: `auto` takes CUDA when libtorch sees it.
///
/// # Errors
/// [`Error::NoDevice`] when CUDA is asked for and not there.
pub fn device(choice: DeviceChoice) -> Result<Device> {
    load_cuda();
    let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto if count > 0 => Ok(Device::Cuda(0)),
        DeviceChoice::Auto => Ok(Device::Cpu),
        DeviceChoice::Cuda(n) if n < count => Ok(Device::Cuda(n)),
        DeviceChoice::Cuda(_) => Err(Error::NoDevice {
            asked: choice.to_string(),
            found: if cuda_library() {
                format!("libtorch sees {count} CUDA devices")
            } else {
                "this libtorch is built for the CPU".into()
            },
        }),
    }
}

/// What convolutions compute in while training. Weights, losses and embeddings are always in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// `bfloat16` where the processor has instructions for it, 32 bits elsewhere.
    #[default]
    Auto,
    /// 32-bit floats.
    Fp32,
    /// 16-bit floats with the range of 32-bit ones.
    Bf16,
}

impl Precision {
    /// The kind of the pictures that enter the first convolution.
    #[must_use]
    pub fn kind(self, device: Device) -> Kind {
        let native = match device {
            Device::Cuda(_) => true,
            _ => cpu_has_bf16(),
        };
        match self {
            Self::Bf16 => Kind::BFloat16,
            Self::Auto if native => Kind::BFloat16,
            Self::Auto | Self::Fp32 => Kind::Float,
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "fp32" => Ok(Self::Fp32),
            "bf16" => Ok(Self::Bf16),
            _ => Err("use auto, fp32 or bf16".into()),
        }
    }
}

/// Whether products of `bfloat16` are faster than those of 32-bit floats.
fn cpu_has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Threads of one tensor operation; 0 keeps libtorch's own choice, all cores.
pub fn set_threads(threads: usize) {
    if threads > 0 {
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    }
}

/// Keeps large freed blocks in the process: training takes and gives back the same tensors every
/// step, and returning them to the system costs about a tenth of the time.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "glibc's allocator is tuned through a C call")]
    // SAFETY: mallopt only sets parameters of the allocator and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 128 << 20);
    }
}

/// Loads libtorch's CUDA part when it is there. The linker drops it as unneeded, and without it CUDA
/// is silently missing.
fn load_cuda() {
    let _ = cuda_library();
}

#[cfg(unix)]
fn cuda_library() -> bool {
    static LOADED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *LOADED.get_or_init(|| {
        #[expect(unsafe_code, reason = "the library registers itself when it is loaded")]
        // SAFETY: the name is a NUL-terminated literal; the library's initialisers are libtorch's own.
        unsafe {
            !libc::dlopen(c"libtorch_cuda.so".as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL)
                .is_null()
        }
    })
}

#[cfg(not(unix))]
fn cuda_library() -> bool {
    false
}

/// What `doctor` says about libtorch and CUDA.
#[must_use]
pub fn checks() -> Vec<Check> {
    load_cuda();
    let works = tch::Tensor::f_ones([2, 2], (tch::Kind::Float, Device::Cpu))
        .and_then(|t| t.f_sum(tch::Kind::Float))
        .and_then(|t| f64::try_from(&t))
        .is_ok_and(|sum| (sum - 4.0).abs() < 1e-9);
    let libtorch = match (works, library()) {
        (true, Some(place)) => {
            let version = version(&place).unwrap_or_else(|| "of unknown version".into());
            Check::good("libtorch", format!("{version} in {}", place.display()))
        }
        (true, None) => Check::good("libtorch", "computes"),
        (false, _) => Check::broken("libtorch", "does not add", "run `make setup`"),
    };
    let precision = match Precision::Auto.kind(Device::Cpu) {
        Kind::BFloat16 => "trains in bf16",
        _ => "trains in fp32: no AVX-512 BF16",
    };
    let threads = format!("{} threads a tensor operation, {precision}", tch::get_num_threads());
    let processor = Check::good("processor", threads);
    let count = tch::Cuda::device_count();
    let cuda = if count > 0 {
        Check::good("CUDA", format!("{count} devices"))
    } else if cuda_library() {
        Check::limited("CUDA", "no device", "check the driver with `nvidia-smi`; the CPU is used")
    } else {
        Check::limited("CUDA", "CPU build of libtorch", "with an NVIDIA GPU: `CUDA=1 make setup`")
    };
    vec![libtorch, processor, cuda]
}

/// The directory that libtorch was loaded from.
fn library() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.contains("/libtorch_cpu.so"))?;
    let path = PathBuf::from(&line[line.find('/')?..]);
    path.parent().map(Into::into)
}

/// The version that stands beside the libraries: PyTorch's `version.py`, or libtorch's `build-version`.
fn version(libraries: &std::path::Path) -> Option<String> {
    let root = libraries.parent()?;
    if let Ok(text) = std::fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().into());
    }
    let text = std::fs::read_to_string(root.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split('\'').nth(1).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_that_is_not_there_is_an_error() {
        if tch::Cuda::device_count() == 0 {
            let error = device(DeviceChoice::Cuda(0)).unwrap_err();
            assert!(matches!(error, Error::NoDevice { .. }), "{error}");
            assert_eq!(device(DeviceChoice::Auto).unwrap(), Device::Cpu);
        }
    }
}
