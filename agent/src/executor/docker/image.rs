//! An image made on the spot from the host's shell and its libraries, never pulled: for tests and
//! for hosts that reach no registry.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::{Output, Stdio};

use bollard::body_full;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::engine::{self, Address, Engine};

/// The image's name; its tag tells what is in it.
const NAME: &str = "garrison-host-shell";

/// What the image has, where the host has it.
const PROGRAMS: [&str; 22] = [
    "sh",
    "cat",
    "cp",
    "date",
    "dd",
    "env",
    "false",
    "grep",
    "head",
    "id",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "seq",
    "sha256sum",
    "sleep",
    "tail",
    "touch",
    "true",
    "uname",
];

/// Where the host's programs are looked for.
const FOLDERS: [&str; 2] = ["/bin", "/usr/bin"];

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine refused or is not there.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A program of the host that is needed to make it cannot be used.
    #[error("cannot make an image from this host's shell: {program}: {source}")]
    Host {
        /// `ldd` or `tar`.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Sees to it that the engine at `address` has the image; returns its name with a tag.
pub async fn from_host(address: &Address) -> Result<String, Error> {
    let engine = Engine::connect(address).await?;
    let archive = archive(&files().await?).await?;
    let digest = Sha256::digest(&archive);
    let tag: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    let image = format!("{NAME}:{tag}");
    if !engine.has_image(&image).await? {
        import(&engine, &tag, archive).await?;
    }
    Ok(image)
}

async fn import(engine: &Engine, tag: &str, archive: Vec<u8>) -> Result<(), engine::Error> {
    let options = CreateImageOptionsBuilder::default().from_src("-").repo(NAME).tag(tag).build();
    let body = body_full(archive.into());
    let mut steps = engine.docker.create_image(Some(options), Some(body), None);
    while let Some(step) = steps.next().await {
        step.map_err(|error| engine.error(error))?;
    }
    Ok(())
}

/// The programs and the libraries that they load, as absolute paths.
async fn files() -> Result<BTreeSet<String>, Error> {
    let programs: Vec<String> = PROGRAMS.iter().filter_map(|program| find(program)).collect();
    // Fails if one of them is linked statically, and lists the others' libraries all the same.
    let ldd = run("ldd", Command::new("ldd").args(&programs)).await?;
    let text = String::from_utf8_lossy(&ldd.stdout);
    // A line is `libc.so.6 => /lib/…/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`.
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/'));
    let libraries = libraries.filter(|word| !word.ends_with(':')).map(str::to_owned);
    Ok(libraries.chain(programs.iter().cloned()).collect())
}

fn find(program: &str) -> Option<String> {
    let paths = FOLDERS.map(|folder| format!("{folder}/{program}"));
    paths.into_iter().find(|path| Path::new(path).exists())
}

/// A tar of `files` with what links point to; the same files give the same bytes.
async fn archive(files: &BTreeSet<String>) -> Result<Vec<u8>, Error> {
    let mut command = Command::new("tar");
    command
        .args(["--create", "--file=-", "--dereference", "--hard-dereference"])
        .args(["--numeric-owner", "--owner=0", "--group=0", "--directory=/", "--"])
        .args(files.iter().map(|file| file.trim_start_matches('/')));
    let output = run("tar", &mut command).await?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => {
            let source = io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned());
            Err(Error::Host { program: "tar", source })
        }
    }
}

async fn run(program: &'static str, command: &mut Command) -> Result<Output, Error> {
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output().await;
    output.map_err(|source| Error::Host { program, source })
}
