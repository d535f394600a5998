//! The coordinator's process: what is started, in which order, and how it stops.

use std::fs;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::middleware::from_fn_with_state;
use coordinator_core::actor::Actor;
use coordinator_core::trigger::Trigger;
use proto::v1::enrolment_server::EnrolmentServer;
use proto::v1::link_server::LinkServer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tracing::info;

use crate::api::{self, Api};
use crate::ca::Ca;
use crate::config::Config;
use crate::content::Contents;
use crate::driver::{self, Driver, Handle};
use crate::feed::Source;
use crate::forge::Forges;
use crate::listener::{Listener, Reading};
use crate::logs::{LogStore, Logs};
use crate::metrics::{self, Metrics};
use crate::pages;
use crate::pages::logins::Logins;
use crate::programs::Programs;
use crate::resolve::Resolver;
use crate::secrets::Secrets;
use crate::session::Sessions;
use crate::store::Store;
use crate::telling::{Feeds, Telling};
use crate::tls;
use crate::token::{self, Kind};

/// Keepalive on agents' connections: dead after two of these without an answer.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Handshakes that are done but not yet taken by the server.
const CONNECTIONS: usize = 64;

/// Runs until `stop`, or until something fails that only a new start can mend.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let forges = Forges::load(&config.forges)?;
    let config = Arc::new(config);
    let data = config.data.clone();
    let is_first = !data.join("journal").exists();
    let (store, snapshot) = Store::open(&data, crate::store::Options::default(), driver::now())?;
    let ca = Arc::new(Ca::open(&data.join("ca"), &config.trust_domain)?);
    let view = store.view();
    let secrets = Secrets::open(config.secrets.key_file.as_deref(), &data, view.clone())?;
    let log_store = LogStore::open(&data.join("logs"), crate::logs::Options::default())
        .with_context(|| format!("cannot open the logs in {}", data.display()))?;
    let logs = log_store.logs();
    let contents = Contents::open(&data.join("content"))
        .with_context(|| format!("cannot open the content in {}", data.display()))?;
    let agents = listen(config.agents.listen, "agents.listen").await?;
    let http = listen(config.http.listen, "http.listen").await?;

    let (triggers, pending) = mpsc::unbounded_channel();
    let feeds = Feeds::of(&config);
    let metrics = Arc::new(Metrics::new(feeds.named(&config)));
    let journal = store.journal();
    let (driver, handle) = Driver::new(store, snapshot, triggers, Arc::clone(&metrics))?;
    let source = Source::new(journal, handle.committed());
    let telling = Telling::open(feeds, &config, &source, &view)?;
    let driver = std::thread::Builder::new().name("driver".into()).spawn(move || driver.run())?;

    let admin = token::generate(Kind::Api);
    write_local_admin(&config, &admin, agents.local_addr()?, http.local_addr()?)?;
    let logins = Logins::default();
    let api = Api {
        driver: handle.clone(),
        view: view.clone(),
        logs: logs.clone(),
        contents: contents.clone(),
        config: Arc::clone(&config),
        forges,
        hooks: api::hooks::gate(),
        ca_fingerprint: ca.fingerprint(),
        local_admin: token::hash(&admin),
        logins,
        programs: Programs::new(contents.clone()),
        secrets: secrets.clone(),
        metrics,
        stop: stop.clone(),
    };
    let tasks = TaskTracker::new();
    let sessions = Sessions {
        driver: handle.clone(),
        ca: Arc::clone(&ca),
        view,
        logs,
        contents: contents.clone(),
        secrets,
        tasks: tasks.clone(),
    };
    info!(
        agents = %agents.local_addr()?, http = %http.local_addr()?, data = %data.display(), "serving"
    );
    invite(&config, &api, is_first, http.local_addr()?);

    let mut parts = JoinSet::new();
    parts.spawn(serve_agents(agents, sessions, ca, Arc::clone(&config), stop.clone()));
    start_resolving(&mut parts, &api, pending, &stop)?;
    parts.spawn(serve_http(http, api, stop.clone()));
    parts.spawn(contents.keep_swept(stop.clone()));
    telling.start(&mut parts, &stop);
    let until = until_stopped(&mut parts, driver, log_store.logs(), &stop).await;
    stop.cancel();
    until?;
    drain(parts, tasks, log_store, handle).await
}

/// Starts whoever makes runs of triggers, and whoever finds triggers in repositories, schedules and events.
fn start_resolving(
    parts: &mut JoinSet<anyhow::Result<()>>,
    api: &Api,
    pending: mpsc::UnboundedReceiver<Box<Trigger>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Api { config, contents, driver, view, metrics, .. } = api;
    let resolver = Resolver::new(Arc::clone(config), contents.clone(), driver.clone());
    let watcher = resolver.watcher(view.clone());
    let reading = Reading {
        config: Arc::clone(config),
        driver: driver.clone(),
        view: view.clone(),
        preview: resolver.preview(),
        metrics: Arc::clone(metrics),
        unseen: watcher.unseen(),
    };
    for listener in listeners(config, &reading)? {
        parts.spawn(listener.run(stop.clone()));
    }
    parts.spawn(watcher.run(stop.clone()));
    parts.spawn(resolver.run(pending, stop.clone()));
    Ok(())
}

/// Whoever reads events that start pipelines.
fn listeners(config: &Config, reading: &Reading) -> anyhow::Result<Vec<Listener>> {
    let Some(nats) = &config.nats else { return Ok(Vec::new()) };
    let open = |of| Listener::open(of, nats, reading.clone());
    Ok(nats.triggers.iter().map(open).collect::<Result<_, _>>()?)
}

/// Waits until it shall stop, or some part has ended before.
async fn until_stopped(
    parts: &mut JoinSet<anyhow::Result<()>>,
    driver: std::thread::JoinHandle<Result<(), crate::store::Error>>,
    logs: Logs,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(part) = parts.join_next() => part?,
        error = logs.failed() => Err(error.into()),
        store = watch_thread(driver) => {
            Err(store.err().unwrap_or_else(|| anyhow!("the driver ended by itself")))
        }
    }
}

/// Stops in this order: listeners and followers, sessions, logs, and last the driver with the store.
async fn drain(
    mut parts: JoinSet<anyhow::Result<()>>,
    tasks: TaskTracker,
    logs: LogStore,
    handle: Handle,
) -> anyhow::Result<()> {
    info!("stopping");
    while let Some(part) = parts.join_next().await {
        part??;
    }
    tasks.close();
    tasks.wait().await;
    logs.close().await?;
    let store = handle.stop().await.context("the driver ended before it was asked to")?;
    tokio::task::spawn_blocking(|| store.close()).await??;
    info!("stopped");
    Ok(())
}

/// Waits for the driver's thread without blocking: it ends early only when the store failed.
async fn watch_thread(
    thread: std::thread::JoinHandle<Result<(), crate::store::Error>>,
) -> anyhow::Result<()> {
    let joined = tokio::task::spawn_blocking(|| thread.join()).await?;
    joined.map_err(|_| anyhow!("the driver panicked"))?.context("the store failed")
}

async fn listen(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: choose another {key}, or end what holds it")
    })
}

async fn serve_agents(
    listener: TcpListener,
    sessions: Sessions,
    ca: Arc<Ca>,
    config: Arc<Config>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let tls = tls::config(&ca, config.agents.names.clone())?;
    let (connections, accepted) = mpsc::channel(CONNECTIONS);
    let accepting = tls::accept(listener, tls, ca, connections, stop.clone());
    let enrolment = EnrolmentServer::new(sessions.clone());
    let link = LinkServer::new(sessions).max_decoding_message_size(proto::MAX_MESSAGE);
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .add_service(enrolment)
        .add_service(link)
        .serve_with_incoming_shutdown(tls::incoming(accepted), stop.cancelled_owned());
    let ((), served) = tokio::join!(accepting, serving);
    served.context("serving agents")
}

async fn serve_http(
    listener: TcpListener,
    api: Api,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let api = Arc::new(api);
    let counting = from_fn_with_state(Arc::clone(&api.metrics), metrics::count);
    let router = api::router(Arc::clone(&api)).merge(pages::router(api)).layer(counting);
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("serving HTTP")
}

/// Says how to open the pages: with a link at the first start, when there is nothing to protect
/// yet, and on a terminal. Other logs may be read by more people than this host's administrators.
fn invite(config: &Config, api: &Api, is_first: bool, http: SocketAddr) {
    if !is_first && !std::io::stderr().is_terminal() {
        info!("'garrison open' prints a link that shows runs and logs in a browser");
        return;
    }
    let path = api.logins.invite(Actor::LocalAdmin, driver::now()).path;
    let origin = config.http.url.as_ref().map(|origin| origin.as_str().to_owned());
    let origin = origin.unwrap_or_else(|| format!("http://{http}"));
    info!("runs and logs in a browser, by this link once within ten minutes: {origin}{path}");
}

/// Leaves the addresses and a fresh token for whoever may read the data directory.
fn write_local_admin(
    config: &Config,
    token: &str,
    agents: SocketAddr,
    http: SocketAddr,
) -> anyhow::Result<()> {
    let name = config.agents.names.first().map_or("localhost", String::as_str);
    let content = serde_json::json!({
        "url": format!("http://{http}"),
        "token": token,
        "agents": format!("https://{name}:{}", agents.port()),
    });
    let path = config.data.join("local-admin.json");
    write_private(&path, content.to_string().as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&temporary)?.write_all(bytes)?;
    fs::rename(&temporary, path)
}
