//! Lets the executables find libtorch at run time: torch-sys's link arguments do not reach dependents. Compiles what
//! FAISS's C interface lacks, against the headers of the FAISS that `faiss-sys` built.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    println!("cargo:rerun-if-changed=src/ann/scan.cpp");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(false).file("src/ann/scan.cpp");
    if let Ok(faiss) = std::env::var("DEP_FAISS_C_ROOT") {
        build.include(format!("{faiss}/include"));
    }
    build.compile("curator_scan");
}
