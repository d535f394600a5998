//! What forges write beside a webhook's body: the headers that say which delivery it is, of what, and
//! whose.

use axum::http::HeaderMap;

use super::{Error, Forge, Seal};
use crate::config::ForgeKind;

/// Longest delivery id, in bytes; all forges take UUIDs.
const DELIVERY: usize = 128;

/// The headers of a webhook.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The same whenever the forge sends this webhook again.
    pub delivery: &'a str,
    /// Of what it tells, in the forge's words.
    pub(super) event: &'a str,
    /// When it was sent, in seconds since 1970; empty where the forge does not seal it.
    pub(super) timestamp: &'a str,
    /// By which the forge shows that it is its own.
    pub(super) seal: &'a str,
}

impl Forge {
    /// Reads the headers that this forge sends. By a GitLab's signing token the delivery's id is
    /// sealed too; its token alone seals nothing.
    ///
    /// - GitHub: docs.github.com/en/webhooks, "Webhook events and payloads", delivery headers.
    /// - GitLab: docs.gitlab.com/user/project/integrations/webhooks, "Delivery headers" and "Signing
    ///   tokens". `X-Gitlab-Webhook-UUID` is another for each try, and `X-Gitlab-Event-UUID` is
    ///   shared by all that one request set off; `Idempotency-Key` (since 17.4) stays.
    /// - Gitea and Forgejo: `services/webhook/deliver.go` of either; Forgejo sends `X-Gitea-…` too.
    ///
    /// # Errors
    /// If one is missing.
    pub fn envelope<'a>(&self, headers: &'a HeaderMap) -> Result<Envelope<'a>, Error> {
        let kind = self.kind();
        let header = |name: &'static str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.ok_or(Error::Header { name, kind })
        };
        let delivery = |name: &'static str| {
            let id = header(name)?;
            let is_id = !id.is_empty() && id.len() <= DELIVERY;
            if is_id { Ok(id) } else { Err(Error::Delivery(name)) }
        };
        let hmac = |[seal, event, id]: [&'static str; 3], prefix: &str| {
            // Without the prefix it is no seal at all.
            let seal = header(seal)?.strip_prefix(prefix).unwrap_or_default();
            Ok(Envelope { delivery: delivery(id)?, event: header(event)?, timestamp: "", seal })
        };
        match (kind, &self.seal) {
            (ForgeKind::Github, _) => {
                hmac(["x-hub-signature-256", "x-github-event", "x-github-delivery"], "sha256=")
            }
            (ForgeKind::Gitea, _) => {
                hmac(["x-gitea-signature", "x-gitea-event", "x-gitea-delivery"], "")
            }
            (ForgeKind::Forgejo, _) => {
                hmac(["x-forgejo-signature", "x-forgejo-event", "x-forgejo-delivery"], "")
            }
            (ForgeKind::Gitlab, Seal::Signature(_)) => Ok(Envelope {
                delivery: delivery("webhook-id")?,
                event: header("x-gitlab-event")?,
                timestamp: header("webhook-timestamp")?,
                seal: header("webhook-signature")?,
            }),
            (ForgeKind::Gitlab, Seal::Token(_) | Seal::Hmac(_)) => Ok(Envelope {
                delivery: delivery("idempotency-key")?,
                event: header("x-gitlab-event")?,
                timestamp: "",
                seal: header("x-gitlab-token")?,
            }),
        }
    }
}
