//! The address under which people reach the coordinator.

use axum::http::Uri;
use serde::Deserialize;

/// An address of a site without a path: `https://HOST` or `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin {
    text: String,
    host: String,
}

/// A text that is no [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an address such as 'https://garrison.example.org'")]
pub struct NotAnOrigin(String);

impl Origin {
    /// The address as browsers write it, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host name, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl TryFrom<String> for Origin {
    type Error = NotAnOrigin;
    fn try_from(given: String) -> Result<Self, NotAnOrigin> {
        let text = given.strip_suffix('/').unwrap_or(&given).to_ascii_lowercase();
        let host = text.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("https"));
        let host = host.and_then(|uri| Some(uri.host()?.to_owned()));
        match host {
            Some(host) if !text["https://".len()..].contains(['/', '?', '#', '@']) => {
                Ok(Origin { text, host })
            }
            _ => Err(NotAnOrigin(given)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_site_behind_tls_is_one() {
        let origin = Origin::try_from("https://Garrison.example.org:8443/".to_owned()).unwrap();
        assert_eq!(origin.as_str(), "https://garrison.example.org:8443");
        assert_eq!(origin.host(), "garrison.example.org");
        for wrong in ["garrison.example.org", "http://a", "https://a/b", "https://u@a", "https://"]
        {
            let error = Origin::try_from(wrong.to_owned()).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
