//! The runner alone, for tests of the agent: `runner [--grace-ms N] DIR`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [dir] => agent::runner::main(Path::new(dir)),
        ["--grace-ms", grace, dir] => {
            let grace = Duration::from_millis(grace.parse().expect("a number"));
            agent::runner::main_with(Path::new(dir), agent::runner::Options { grace })
        }
        _ => ExitCode::from(64),
    }
}
