//! `garrison secrets`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use coordinator::api::types::{NewSecret, Scope, Secret, SecretKey};
use pipelines::name::{DeviceName, PartitionName, RepositoryName};
use pipelines::secret::{self, SecretName, Value};

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Sets a secret to what standard input holds, without one newline at its end if it is no key.
    Set {
        /// Which one.
        #[command(flatten)]
        which: Which,
        /// A file with the value, instead of standard input.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Lists secrets, without their values.
    List,
    /// Deletes a secret.
    Delete {
        /// Which one.
        #[command(flatten)]
        which: Which,
    },
}

/// A secret; without a scope it is for all jobs everywhere.
#[derive(Debug, Args)]
pub struct Which {
    /// Its name, such as VAULT_PASSWORD.
    name: SecretName,
    /// For jobs in this partition.
    #[arg(long, conflicts_with = "repository")]
    partition: Option<PartitionName>,
    /// For jobs on this device of the partition.
    #[arg(long, requires = "partition")]
    device: Option<DeviceName>,
    /// For jobs of this repository's pipelines, in all partitions.
    #[arg(long)]
    repository: Option<RepositoryName>,
}

/// Carries out an action.
pub fn run(client: &Client, action: &Action, format: Format) -> Result<Exit, Failure> {
    match action {
        Action::Set { which, file } => {
            let request = NewSecret { key: which.key(), value: read(file.as_deref())? };
            let secret: Secret = client.post("/api/v1/secrets", &request)?;
            output::print(format, &secret, |secret| {
                format!("secret {} is set, version {}\n", request.key, secret.version)
            })?;
        }
        Action::List => {
            let secrets: Vec<Secret> = client.get("/api/v1/secrets")?;
            output::print(format, &secrets, |secrets| {
                if secrets.is_empty() {
                    return "no secrets are set\n".to_owned();
                }
                let headings = ["NAME", "SCOPE", "VERSION", "SET BY", "SET"];
                output::table(&headings, secrets.iter().map(row))
            })?;
        }
        Action::Delete { which } => {
            let key = which.key();
            let secret: Secret = client.post("/api/v1/secrets/delete", &key)?;
            output::print(format, &secret, |_| format!("secret {key} is deleted\n"))?;
        }
    }
    Ok(Exit::Success)
}

impl Which {
    fn key(&self) -> SecretKey {
        let scope = match (self.partition.clone(), self.device.clone(), self.repository.clone()) {
            (Some(partition), Some(device), _) => Scope::Device { partition, device },
            (Some(partition), None, _) => Scope::Partition { partition },
            (None, _, Some(repository)) => Scope::Repository { repository },
            (None, _, None) => Scope::Everywhere,
        };
        SecretKey { name: self.name.clone(), scope }
    }
}

/// Whether it is a key or a certificate in PEM, of which the last newline is a part: OpenSSH reads no key
/// without.
fn is_pem(bytes: &[u8]) -> bool {
    bytes.starts_with(b"-----BEGIN ") && bytes.ends_with(b"-----\n")
}

/// The value: as it is, but for one newline at its end, which editors and `echo` leave there.
fn read(file: Option<&Path>) -> Result<Value, Failure> {
    // One byte more, so that a value that is too long is known as such, and the newline.
    let most = secret::LONGEST as u64 + 2;
    let mut bytes = Vec::with_capacity(secret::LONGEST + 2);
    match file {
        Some(path) => {
            let failed = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
            let file = std::fs::File::open(path).map_err(failed)?;
            file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        }
        None => {
            let failed = |error| Failure::usage(format!("cannot read standard input: {error}"));
            io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(failed)?;
        }
    }
    if bytes.last() == Some(&b'\n') && !is_pem(&bytes) {
        bytes.pop();
    }
    Value::from_bytes(bytes).map_err(|error| Failure::usage(error.to_string()))
}

fn row(secret: &Secret) -> Vec<String> {
    vec![
        secret.name.to_string(),
        secret.scope.to_string(),
        secret.version.to_string(),
        secret.by.clone(),
        output::moment(secret.at_us),
    ]
}
