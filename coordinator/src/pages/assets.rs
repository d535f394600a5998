//! Style sheet, script and icon, from the binary; the hash in their address lets browsers keep
//! them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::token;

/// A file that pages load.
pub(super) struct Asset {
    /// Its address.
    pub(super) path: String,
    kind: &'static str,
    text: &'static str,
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    asset("css", "text/css; charset=utf-8", include_str!("../../templates/page.css"))
});
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    asset("js", "text/javascript; charset=utf-8", include_str!("../../templates/live.js"))
});
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| asset("svg", "image/svg+xml", include_str!("../../templates/icon.svg")));

/// `GET /assets/{name}`.
pub(super) async fn show(Path(name): Path<String>) -> Response {
    let is = |asset: &&Asset| asset.path.strip_prefix("/assets/") == Some(name.as_str());
    let all: [&Asset; 3] = [&STYLE, &SCRIPT, &ICON];
    let Some(asset) = all.into_iter().find(is) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kept = (CACHE_CONTROL, "public, max-age=31536000, immutable");
    ([(CONTENT_TYPE, asset.kind), kept], asset.text).into_response()
}

fn asset(extension: &str, kind: &'static str, text: &'static str) -> Asset {
    Asset { path: format!("/assets/{}.{extension}", &token::hash(text).0[..16]), kind, text }
}
