//! Compiles the wire's definition without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=garrison.proto");
    let files = protox::compile(["garrison.proto"], ["."])?;
    let quiet = [".garrison.v1.Secret"];
    tonic_prost_build::configure().bytes(".").skip_debug(quiet).compile_fds(files)?;
    Ok(())
}
