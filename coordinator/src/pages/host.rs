//! Which requests the pages answer at all.
//!
//! A foreign name that is made to lead here (DNS rebinding) gets no page, and what another site has
//! a browser send does nothing.

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::Problem;
use crate::api::Shared;
use crate::config;

/// Refuses requests to a name that is not ours, and POSTs that come from another site.
pub(super) async fn check(
    State(api): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (headers, http) = (request.headers(), &api.config.http);
    let host = header(headers, HOST.as_str()).unwrap_or_default();
    if !is_own(host, http) {
        return Err(Problem::foreign_host(host));
    }
    if request.method() == Method::POST && !is_from_own_page(headers, host, http) {
        return Err(Problem::foreign_form());
    }
    Ok(next.run(request).await)
}

/// Whether a host's name, with or without port, is ours: this host's own or the configured one.
/// The port may be another, as with a forwarded one.
fn is_own(host: &str, http: &config::Http) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().to_ascii_lowercase();
    let listens = http.listen.ip().to_string();
    ["localhost", "127.0.0.1", "[::1]", &listens].contains(&name.as_str())
        || http.url.as_ref().is_some_and(|url| url.host() == name)
}

/// Whether a request came by the configured name, so through its TLS proxy.
pub(super) fn is_public(headers: &HeaderMap, http: &config::Http) -> bool {
    let host = header(headers, HOST.as_str()).and_then(|host| host.parse::<Authority>().ok());
    let public = http.url.as_ref().map(config::Origin::host);
    host.is_some_and(|host| Some(host.host()) == public)
}

/// Browsers say where a POST comes from in `Sec-Fetch-Site`, older ones in `Origin`; who says
/// nothing is no browser, and has no cookies that a site could use.
fn is_from_own_page(headers: &HeaderMap, host: &str, http: &config::Http) -> bool {
    if let Some(site) = header(headers, "sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = header(headers, ORIGIN.as_str()) else { return true };
    origin.split_once("://").is_some_and(|(_, authority)| authority == host)
        || http.url.as_ref().is_some_and(|url| url.as_str() == origin)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // What cannot be read is not ours.
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(url: Option<&str>) -> config::Http {
        let url = url.map(|url| config::Origin::try_from(url.to_owned()).unwrap());
        config::Http { listen: "127.0.0.1:7080".parse().unwrap(), url }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_our_own_names_lead_here() {
        let behind_proxy = http(Some("https://garrison.example.org"));
        for own in ["localhost:8080", "127.0.0.1:7080", "[::1]:7080", "LOCALHOST"] {
            assert!(is_own(own, &http(None)), "{own}");
        }
        for foreign in ["", "evil.example", "127.0.0.1.evil.example:7080", "garrison.example.org"] {
            assert!(!is_own(foreign, &http(None)), "{foreign}");
        }
        assert!(is_own("garrison.example.org", &behind_proxy));
        assert!(is_public(&headers(&[("host", "garrison.example.org")]), &behind_proxy));
        assert!(!is_public(&headers(&[("host", "localhost")]), &behind_proxy));
        assert!(!is_public(&headers(&[]), &http(None)));
        assert!(!is_own("evil.example", &behind_proxy));
    }

    #[test]
    fn a_post_comes_from_our_own_page_or_from_no_browser() {
        let proxied = http(Some("https://garrison.example.org"));
        let from = |pairs: &[_]| is_from_own_page(&headers(pairs), "127.0.0.1:7080", &proxied);
        assert!(from(&[]));
        assert!(from(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(from(&[("origin", "http://127.0.0.1:7080")]));
        assert!(from(&[("origin", "https://garrison.example.org")]));
        for site in ["cross-site", "same-site", "none"] {
            assert!(!from(&[("sec-fetch-site", site), ("origin", "http://127.0.0.1:7080")]));
        }
        for origin in ["null", "http://evil.example", "http://127.0.0.1:7081"] {
            assert!(!from(&[("origin", origin)]), "{origin}");
        }
    }
}
