//! Devices, threads, and what `doctor` says about libtorch.

use curator_core::DeviceChoice;
use curator_core::doctor::Check;
use tch::Device;

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
    let libtorch = if works {
        let threads = tch::get_num_threads();
        Check::good("libtorch", format!("2.11, {threads} threads"))
    } else {
        Check::broken("libtorch", "does not add", "run `make setup`")
    };
    let count = tch::Cuda::device_count();
    let cuda = if count > 0 {
        Check::good("CUDA", format!("{count} devices"))
    } else if cuda_library() {
        Check::limited("CUDA", "no device", "check the driver with `nvidia-smi`; the CPU is used")
    } else {
        Check::limited("CUDA", "CPU build of libtorch", "with an NVIDIA GPU: `CUDA=1 make setup`")
    };
    vec![libtorch, cuda]
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
