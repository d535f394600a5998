//! Probes of devices: whether one shows a pinned host key, and what a short command says there.

use std::path::PathBuf;

use pipelines::plan::Ssh;

use super::connection::{Connection, Error, meet};
use super::device::{END, RECEIVE};

/// Whether the device shows one of its pinned host keys; says what it does instead. Nobody logs in.
pub(in crate::executor) async fn host_key(device: &Ssh) -> Result<(), String> {
    meet(device).await.map_err(|error| error.to_string())
}

/// What `line` says on the device by its standard output, if it ends with 0.
pub(in crate::executor) async fn run(
    device: &Ssh,
    keys: &[PathBuf],
    line: &str,
) -> Result<String, String> {
    let told = |error: Error| error.to_string();
    let connection = Connection::open(device, keys).await.map_err(told)?;
    let command = format!("exec /bin/sh -c '{RECEIVE}'");
    let reply = connection.run(&command, format!("{line}\n{END}")).await.map_err(told)?;
    connection.close().await;
    let behind = match reply.stderr.as_str() {
        "" => String::new(),
        stderr => format!(": {stderr}"),
    };
    match reply.status {
        Some(0) => Ok(reply.stdout),
        Some(status) => Err(format!("exit status {status}{behind}")),
        None => Err(format!("ended by a signal{behind}")),
    }
}
