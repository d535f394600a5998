//! What an engine says of itself, for people who look after its host.

use std::path::PathBuf;

use bollard::query_parameters::ListNetworksOptions;

use super::engine::{Address, Engine, Error};

/// What is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its version.
    pub version: String,
    /// How it stores images.
    pub driver: String,
    /// Where.
    pub root: PathBuf,
    /// Its networks' names.
    pub networks: Vec<String>,
}

/// Asks the engine at an address.
///
/// # Errors
/// If it is not reached, or answers no.
pub async fn about(address: &Address) -> Result<About, Error> {
    let engine = Engine::connect(address).await?;
    let info = engine.docker.info().await.map_err(|error| engine.error(error))?;
    let networks = engine.docker.list_networks(None::<ListNetworksOptions>).await;
    let networks = networks.map_err(|error| engine.error(error))?;
    let unknown = || "unknown".to_owned();
    Ok(About {
        version: info.server_version.unwrap_or_else(unknown),
        driver: info.driver.unwrap_or_else(unknown),
        root: info.docker_root_dir.unwrap_or_else(|| "/var/lib/docker".to_owned()).into(),
        networks: networks.into_iter().filter_map(|network| network.name).collect(),
    })
}
