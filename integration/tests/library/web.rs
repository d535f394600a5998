//! A loopback web server with the files of a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{StatusCode, Uri};

/// It ends when it is dropped.
pub(crate) struct Web {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Web {
    pub(crate) fn start(folder: &Path) -> Web {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let state = (folder.to_owned(), Arc::clone(&asked));
        let router = axum::Router::new().fallback(serve).with_state(state);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Web { url, asked, _runtime: runtime }
    }

    /// The paths that it was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

type Content = (PathBuf, Arc<Mutex<Vec<String>>>);

async fn serve(State((folder, asked)): State<Content>, uri: Uri) -> Result<String, StatusCode> {
    asked.lock().unwrap().push(uri.path().to_owned());
    let path = folder.join(uri.path().trim_start_matches('/'));
    fs::read_to_string(path).map_err(|_| StatusCode::NOT_FOUND)
}
