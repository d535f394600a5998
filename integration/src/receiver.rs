//! Somebody whom the coordinator tells something over TLS: a forge's API, or the receiver of a
//! webhook, who checks signatures with the library `standardwebhooks` of PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::{ok, packages};

/// The server; it is ended when it is dropped.
pub struct Receiver {
    folder: PathBuf,
    key: Option<String>,
    port: u16,
    server: Option<Child>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Where to.
    pub path: String,
    /// Its headers, by their names in small letters.
    pub headers: Value,
    /// Its content.
    pub body: Value,
    /// Whether it was signed, if that is looked at.
    pub is_verified: bool,
    /// The status that it was answered with.
    pub answer: u64,
}

impl Receiver {
    /// A receiver that lives in `folder` with a certificate of its own; with a key it takes only what
    /// is signed with it.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(folder: &Path, key: Option<&str>) -> Receiver {
        fs::create_dir_all(folder).expect("a folder");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
        let made = made.expect("a certificate");
        fs::write(folder.join("cert.pem"), made.cert.pem()).expect("it is written");
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("it is written");
        fs::write(folder.join("receiver.py"), include_str!("receiver.py")).expect("it is written");
        let key = key.map(str::to_owned);
        let mut receiver = Receiver { folder: folder.to_owned(), key, port: 0, server: None };
        receiver.start_again();
        receiver
    }

    /// Starts it at the same address.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again(&mut self) {
        let port = self.folder.join("port");
        // What an earlier process left says nothing about this one.
        let _ = fs::remove_file(&port);
        let mut command = Command::new("python3");
        command.arg(self.folder.join("receiver.py")).arg(&self.folder).arg(self.port.to_string());
        if let Some(key) = &self.key {
            command.arg(key).env("PYTHONPATH", packages::pypi(&["standardwebhooks==1.1.0"]));
        }
        let log = fs::File::create(self.folder.join("log")).expect("a log");
        let server = command.stdout(Stdio::null()).stderr(log).spawn().expect("python3 starts");
        self.server = Some(server);
        let port =
            garrison::site::wait("a receiver", || fs::read_to_string(&port).ok()?.parse().ok());
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        self.port = port.unwrap_or_else(|failure| panic!("{failure}: {}", log()));
    }

    /// Ends it as a crash would.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it is ours");
            server.wait().expect("it ends");
        }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The file with its certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// What it answers to its first requests.
    ///
    /// # Panics
    /// If that cannot be written.
    pub fn will_say(&self, answers: &[u16]) {
        let lines: String = answers.iter().map(|it| format!("{it}\n")).collect();
        fs::write(self.folder.join("answers"), lines).expect("it is written");
    }

    /// Waits until what came is as wanted.
    ///
    /// # Panics
    /// If it never is, with what came.
    pub fn heard(&self, wanted: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        let found = garrison::site::wait("requests", || {
            let heard = self.all();
            wanted(&heard).then_some(heard)
        });
        found.unwrap_or_else(|failure| panic!("{failure}: {:#?}", self.all()))
    }

    /// What came until now.
    ///
    /// # Panics
    /// If it was noted in another form.
    pub fn all(&self) -> Vec<Heard> {
        let text = fs::read_to_string(self.folder.join("heard")).unwrap_or_default();
        let whole = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        whole.map(|line| Heard::read(&line)).collect()
    }
}

impl Heard {
    fn read(line: &Value) -> Heard {
        Heard {
            path: ok(line["path"].as_str().ok_or("no path")).to_owned(),
            headers: line["headers"].clone(),
            body: line["body"].clone(),
            is_verified: line["verified"] == true,
            answer: ok(line["answer"].as_u64().ok_or("no answer")),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}
