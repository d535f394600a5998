//! Probes of devices: whether one shows a pinned host key, and what a short command says there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipelines::plan::Ssh;

use super::connection::{Connection, Error};
use super::device::{END, RECEIVE};
use super::login::Login;
use super::session::exports;

/// Whether the device shows one of its pinned host keys; says what it does instead. Nobody logs in.
/// What `keys`, paths of private keys, open is the way there.
pub(in crate::executor) async fn host_key(device: &Ssh, keys: &[PathBuf]) -> Result<(), String> {
    let login = match device.jump.is_empty() {
        true => Login::without_keys(device),
        false => Login::new(device, keys, &[]).map_err(|error| error.to_string())?,
    };
    Connection::meet(&login).await.map_err(|error| error.to_string())
}

/// What `line` says on the device that `login` leads to by its standard output, if it ends with 0.
pub(in crate::executor) async fn run(
    login: &Login,
    environment: &BTreeMap<String, String>,
    line: &str,
) -> Result<String, String> {
    let told = |error: Error| error.to_string();
    let exports = exports(environment).map_err(|error| error.to_string())?;
    let connection = Connection::open(login).await.map_err(told)?;
    let command = format!("exec /bin/sh -c '{RECEIVE}'");
    let reply = connection.run(&command, format!("{exports}{line}\n{END}")).await.map_err(told)?;
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
