//! Probes of web servers: one GET a try, over a connection of its own.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pipelines::probe::{Http, Url};
use tokio::io::{AsyncRead, AsyncWrite};

use super::tls::Trust;
use super::{matching, net};

/// Most bytes of a body that a pattern is looked for in.
const MOST: usize = 1 << 20;

/// Whether the server answers as it is wanted.
pub(super) async fn answer(http: &Http, trust: &Trust) -> Result<(), String> {
    let url: Url = http.url.parse()?;
    let stream = net::connect(&url.to_string()).await?;
    match url.is_tls {
        true => asked(http, &url, trust.connect(stream, &url.host).await?).await,
        false => asked(http, &url, stream).await,
    }
}

async fn asked<S>(http: &Http, url: &Url, stream: S) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::get(&url.path)
        .header(HOST, url.to_string())
        .header(USER_AGENT, "garrison")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let judged = async move {
        let response = sender.send_request(request).await.map_err(|error| told(&error))?;
        judge(http, response).await
    };
    let (mut judged, connection) = (Box::pin(judged), Box::pin(connection));
    tokio::select! {
        result = &mut judged => result,
        // What was received by then is still judged.
        _ = connection => judged.await,
    }
}

async fn judge(http: &Http, response: Response<Incoming>) -> Result<(), String> {
    let status = response.status();
    if !http.status.iter().any(|wanted| wanted.includes(status.as_u16())) {
        return Err(format!("status {status}"));
    }
    let Some(wanted) = &http.body else { return Ok(()) };
    let body = Limited::new(response.into_body(), MOST).collect().await;
    let body = body.map_err(|error| format!("status {status}, and the body: {error}"))?.to_bytes();
    matching("the body", &String::from_utf8_lossy(&body), wanted)
}

fn told(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
