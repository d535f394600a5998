//! The site's forge: sends webhooks to the coordinator as GitHub would.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use coordinator::api::types::Hook;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use uuid::Uuid;

use super::Site;
use crate::exit::Failure;

/// The forge's name in the coordinator's configuration.
pub const NAME: &str = "github";

/// What the forge calls the site's repository.
pub const REPOSITORY: &str = "acme/infra";

/// Who pushes.
const PUSHER: &str = "ada";

/// How long the coordinator may take to answer, as with GitHub.
const PATIENCE: Duration = Duration::from_secs(10);

/// One webhook on its way; tests change what GitHub would not.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Last part of the URL's path.
    pub forge: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// `X-GitHub-Delivery`; a redelivery has the same.
    pub delivery: String,
    /// `X-Hub-Signature-256`; none to leave it out.
    pub signature: Option<String>,
    /// The payload.
    pub body: Vec<u8>,
}

/// A push that the coordinator has taken.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The new commit, in hex.
    pub commit: String,
    /// The trigger's number.
    pub trigger: u64,
}

impl Site {
    /// Commits files to `main`, and tells the coordinator as GitHub would.
    pub fn push(&self, files: &[(&str, &str)]) -> Result<Pushed, Failure> {
        let commit = self.commit(files)?;
        let webhook = self.webhook("push", &push_payload("refs/heads/main", &commit))?;
        let (status, text) = self.deliver(&webhook)?;
        let hook: Option<Hook> = serde_json::from_str(&text).ok();
        let refused = || Failure::internal(format!("the webhook was answered {status}: {text}"));
        let trigger = hook.and_then(|hook| hook.trigger).ok_or_else(refused)?;
        Ok(Pushed { commit, trigger })
    }

    /// A webhook with the right signature and a delivery id of its own.
    pub fn webhook(&self, event: &str, payload: &serde_json::Value) -> Result<Webhook, Failure> {
        let secret = fs::read_to_string(self.secret_file())?;
        let body = payload.to_string().into_bytes();
        Ok(Webhook {
            forge: NAME.to_owned(),
            event: event.to_owned(),
            delivery: Uuid::new_v4().to_string(),
            signature: Some(sign(secret.trim(), &body)),
            body,
        })
    }

    /// Sends a webhook; gives the status and the body of the answer.
    pub fn deliver(&self, webhook: &Webhook) -> Result<(u16, String), Failure> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        let agent: ureq::Agent = config.into();
        let mut request = agent
            .post(format!("{}/hooks/github/{}", self.url()?, webhook.forge))
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/demo")
            .header("x-github-event", &webhook.event)
            .header("x-github-delivery", &webhook.delivery);
        if let Some(signature) = &webhook.signature {
            request = request.header("x-hub-signature-256", signature);
        }
        let mut response = request.send(&webhook.body[..]).map_err(Failure::internal)?;
        let text = response.body_mut().read_to_string().map_err(Failure::internal)?;
        Ok((response.status().as_u16(), text))
    }
}

/// The part of GitHub's payload that says what was pushed.
pub fn push_payload(reference: &str, commit: &str) -> serde_json::Value {
    json!({
        "ref": reference,
        "before": "0".repeat(40),
        "after": commit,
        "created": false,
        "deleted": false,
        "forced": false,
        "repository": { "full_name": REPOSITORY },
        "pusher": { "name": PUSHER, "email": "ada@example.org" },
        "sender": { "login": PUSHER },
    })
}

/// The part of GitHub's payload that says of what a pull request is made; it comes from a fork.
pub fn pull_request_payload(number: u64, head: &str, base: &str) -> serde_json::Value {
    json!({
        "action": "synchronize",
        "number": number,
        "pull_request": {
            "head": { "ref": "topic", "sha": head, "repo": { "full_name": "eve/infra" } },
            "base": { "ref": "main", "sha": base, "repo": { "full_name": REPOSITORY } },
        },
        "repository": { "full_name": REPOSITORY },
        "sender": { "login": "eve" },
    })
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key may have any length");
    mac.update(body);
    let bytes = mac.finalize().into_bytes();
    format!("sha256={}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

pub(super) fn write_secret(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
