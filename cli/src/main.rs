//! The one binary `garrison`.

use std::process::ExitCode;

fn main() -> ExitCode {
    garrison::main()
}
