//! `doctor`: what the installation has, and what to do where it lacks something.

use curator_core::doctor::{Check, Health};

use crate::{Common, Outcome};

/// Runs the checks that concern every program and joins those of the program.
pub(crate) fn report(own: Vec<Check>, common: &Common) -> Outcome {
    let mut checks = vec![simd(), threads(common), disk()];
    checks.extend(own);
    let lines = checks.iter().map(|check| {
        let mark = match check.health {
            Health::Good => "ok     ",
            Health::Limited => "limited",
            Health::Broken => "BROKEN ",
        };
        let hint = check.hint.as_ref().map(|h| format!("\n          hint: {h}"));
        format!("{mark}  {}: {}{}", check.name, check.found, hint.unwrap_or_default())
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let partial = checks.iter().any(|c| c.health == Health::Broken);
    Outcome { json: serde_json::json!({ "checks": checks }), text, partial }
}

#[cfg(target_arch = "x86_64")]
fn simd() -> Check {
    let avx2 = std::arch::is_x86_feature_detected!("avx2");
    let avx512 = std::arch::is_x86_feature_detected!("avx512f");
    match (avx2, avx512) {
        (_, true) => Check::good("SIMD", "AVX-512 (FAISS and our own code use AVX2)"),
        (true, false) => Check::good("SIMD", "AVX2"),
        _ => Check::broken("SIMD", "no AVX2", "remove the flags in .cargo/config.toml and rebuild"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> Check {
    Check::good("SIMD", std::env::consts::ARCH)
}

fn threads(common: &Common) -> Check {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let used = common.threads.map_or(cores, std::num::NonZero::get);
    Check::good("threads", format!("{used} of {cores} cores"))
}

#[cfg(unix)]
fn disk() -> Check {
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    #[expect(unsafe_code, reason = "the standard library has no free-space query")]
    // SAFETY: the path is a NUL-terminated literal and the call fills the zeroed struct.
    let free = unsafe {
        (libc::statvfs(c".".as_ptr(), stat.as_mut_ptr()) == 0).then(|| stat.assume_init())
    };
    match free {
        #[allow(clippy::unnecessary_cast, reason = "the field types differ between systems")]
        Some(stat) => {
            let gigabytes = stat.f_bavail as f64 * stat.f_frsize as f64 / 1e9;
            let found = format!("{gigabytes:.1} GB free here");
            if gigabytes < 5.0 {
                Check::limited("disk", found, "five million tiles need about 60 GB")
            } else {
                Check::good("disk", found)
            }
        }
        None => Check::limited("disk", "free space unknown", "check it with `df -h .`"),
    }
}

#[cfg(not(unix))]
fn disk() -> Check {
    Check::limited("disk", "free space unknown", "check it by hand")
}
