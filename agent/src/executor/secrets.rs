//! How a script gets its secrets on this host: never through process arguments, a disk, or what an
//! engine writes down.

use std::path::PathBuf;

use pipelines::plan::Delivery;
use uuid::Uuid;

use super::script::quoted;
use crate::secrets::Given;
use crate::secrets::tmpfs::{self, Directory, Error};

/// Where a container finds [`ForContainer::folder`].
pub(super) const MOUNTED: &str = "/run/garrison/secrets";

/// Where a container keeps its files with secrets: in memory, and its own user's.
pub(super) const FILES: &str = "/run/garrison/files";

/// What a container's script reads first. No secret has this name: it has small letters.
const VARIABLES: &str = "env";

/// Variables for a process of this host; its files are there as long as this lives.
pub(super) struct ForProcess {
    variables: Vec<(String, String)>,
    _files: Option<Directory>,
}

/// What is mounted into a container; it is there as long as this lives.
pub(super) struct ForContainer {
    /// The folder, which a container may read and nobody else gets to.
    pub(super) folder: PathBuf,
    _directory: Directory,
}

impl ForProcess {
    /// Writes what has to be in files.
    pub(super) fn make(secrets: &[Given], mark: Uuid) -> Result<Self, Error> {
        let has_files = secrets.iter().any(|secret| secret.delivery == Delivery::File);
        let files = has_files.then(|| Directory::make(mark)).transpose()?;
        let mut variables = Vec::with_capacity(secrets.len());
        for Given { name, delivery, value } in secrets {
            let value = match (delivery, &files) {
                (Delivery::File, Some(files)) => {
                    let path = files.path().join(name.as_str());
                    tmpfs::write(&path, value.reveal().as_bytes(), 0o600)?;
                    path.display().to_string()
                }
                (Delivery::Variable, _) | (Delivery::File, None) => value.reveal().to_owned(),
            };
            variables.push((name.to_string(), value));
        }
        Ok(Self { variables, _files: files })
    }

    /// Names and values.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl ForContainer {
    /// Writes what is mounted; none without secrets.
    pub(super) fn make(secrets: &[Given], mark: Uuid) -> Result<Option<Self>, Error> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let directory = Directory::make(mark)?;
        let folder = directory.open_folder("container")?;
        let mut variables = String::new();
        for Given { name, delivery, value } in secrets {
            match delivery {
                Delivery::Variable => {
                    variables += &format!("export {name}={}\n", quoted(value.reveal()));
                }
                Delivery::File => {
                    tmpfs::write(&folder.join(name.as_str()), value.reveal().as_bytes(), 0o444)?;
                    // A copy, since a key's file must belong to the user who shows it.
                    variables += &format!(
                        "(umask 077 && cat {MOUNTED}/{name} > {FILES}/{name})\n\
                         export {name}={FILES}/{name}\n"
                    );
                }
            }
        }
        tmpfs::write(&folder.join(VARIABLES), variables.as_bytes(), 0o444)?;
        Ok(Some(Self { folder, _directory: directory }))
    }

    /// What the script begins with.
    pub(super) fn head() -> String {
        format!(". {MOUNTED}/{VARIABLES}\n")
    }
}
