//! A value sealed for one version of one secret: AES-256-GCM with a random nonce.
//!
//! Name, scope and version are associated data, so that what was sealed for one place opens in no
//! other, whoever can write to the journal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coordinator_core::secret::{Scope, Sealed, SecretKey};
use pipelines::secret::Value;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom, SystemRandom};

use super::master::MasterKey;

/// Seals `value`.
pub(super) fn seal(master: &MasterKey, key: &SecretKey, version: u64, value: &Value) -> Sealed {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).expect("Linux always has random numbers");
    // With room for the tag, so that no copy is left behind where it grew.
    let mut bytes = Vec::with_capacity(value.reveal().len() + master.key.algorithm().tag_len());
    bytes.extend_from_slice(value.reveal().as_bytes());
    let sealing = Nonce::assume_unique_for_key(nonce);
    master
        .key
        .seal_in_place_append_tag(sealing, Aad::from(associated(key, version)), &mut bytes)
        .expect("values are far shorter than the cipher's limit");
    Sealed {
        key: master.id().to_owned(),
        nonce: STANDARD.encode(nonce),
        bytes: STANDARD.encode(bytes),
    }
}

/// Opens what was sealed for just this version of this secret; none for anything else.
pub(super) fn open(
    master: &MasterKey,
    key: &SecretKey,
    version: u64,
    sealed: &Sealed,
) -> Option<Value> {
    let nonce: [u8; NONCE_LEN] = STANDARD.decode(&sealed.nonce).ok()?.try_into().ok()?;
    let mut bytes = STANDARD.decode(&sealed.bytes).ok()?;
    let nonce = Nonce::assume_unique_for_key(nonce);
    let associated = Aad::from(associated(key, version));
    let length = master.key.open_in_place(nonce, associated, &mut bytes).ok()?.len();
    bytes.truncate(length);
    Value::from_bytes(bytes).ok()
}

/// What sealed bytes are bound to. It rests with them and must never change; no part can hold the
/// byte that parts them.
fn associated(key: &SecretKey, version: u64) -> Vec<u8> {
    let scope = match &key.scope {
        Scope::Everywhere => "everywhere".to_owned(),
        Scope::Repository { repository } => format!("repository\0{repository}"),
        Scope::Partition { partition } => format!("partition\0{partition}"),
        Scope::Device { partition, device } => format!("device\0{partition}\0{device}"),
    };
    format!("garrison secret 1\0{}\0{version}\0{scope}", key.name).into_bytes()
}
