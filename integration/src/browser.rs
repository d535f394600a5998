//! A real browser without a window: Chromium, driven through its DevTools protocol over pipes
//! (<https://chromedevtools.github.io/devtools-protocol/>).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The protocol goes over descriptors 3 and 4; here it comes and goes over the standard ones.
const START: &str = "exec chromium --headless --no-sandbox --disable-gpu --disable-quic \
    --no-first-run --disable-background-networking --disable-component-update --disable-sync \
    --disable-dev-shm-usage --remote-debugging-pipe --user-data-dir=\"$0\" \
    3<&0 4>&1 0</dev/null 1>/dev/null 2>&1";

/// What a browser says that nobody asked for: errors of scripts, the console, refused loads.
const COMPLAINTS: [&str; 3] =
    ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];

/// A browser with one tab. Dropping it ends it.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    complaints: Vec<String>,
    session: Option<String>,
    calls: u64,
    /// Its profile.
    _dir: TempDir,
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    /// If there is none.
    pub fn start() -> Browser {
        let dir = tempfile::Builder::new().prefix("garrison-browser-").tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.arg("-c").arg(START).arg(dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            let parsed = output.split(0).map_while(Result::ok);
            for message in parsed.filter_map(|bytes| serde_json::from_slice(&bytes).ok()) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let (complaints, session) = (Vec::new(), None);
        let mut browser =
            Browser { child, input, messages, complaints, session, calls: 0, _dir: dir };
        browser.open_tab();
        browser
    }

    fn open_tab(&mut self) {
        let tab = self.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": tab["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", attach);
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Opens an address, and waits until `ready`, an expression in JavaScript, holds there.
    ///
    /// # Panics
    /// If it never does, with what the page shows.
    pub fn open(&mut self, url: &str, ready: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.wait(&format!("document.readyState === 'complete' && ({ready})"));
    }

    /// Waits until an expression holds.
    ///
    /// # Panics
    /// If it never does, with what the page shows.
    pub fn wait(&mut self, expression: &str) {
        let waited = garrison::site::wait(expression, || {
            (self.evaluate(expression) == Value::Bool(true)).then_some(())
        });
        if let Err(failure) = waited {
            let shown = self.evaluate("location.href + '\\n' + document.body.innerText");
            let shown = shown.as_str().unwrap_or_default();
            panic!("{failure}; the page shows {shown}\n{:?}", self.complaints);
        }
    }

    /// Waits until the page's text has this in it.
    ///
    /// # Panics
    /// If it never has, with what the page shows.
    pub fn wait_for_text(&mut self, text: &str) {
        self.wait(&format!("document.body.innerText.includes({})", json!(text)));
    }

    /// Clicks on the first element that a selector of CSS finds.
    ///
    /// # Panics
    /// If there never is one.
    pub fn click(&mut self, selector: &str) {
        let element = format!("document.querySelector({})", json!(selector));
        self.wait(&format!("{element} !== null"));
        self.evaluate(&format!("{element}.click()"));
    }

    /// The value of an expression; null if it fails, as while a page is loaded.
    ///
    /// # Panics
    /// If the browser does not answer.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let call = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", call);
        answer.map_or(Value::Null, |mut answer| answer["result"]["value"].take())
    }

    /// What the browser complained about so far, as a violated Content-Security-Policy.
    pub fn complaints(&mut self) -> &[String] {
        // What came before this answer was read with it.
        self.evaluate("0");
        &self.complaints
    }

    /// A call of the protocol.
    ///
    /// # Panics
    /// If it is refused.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.ask(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        let sent = self.input.write_all(format!("{call}\0").as_bytes());
        sent.expect("the browser runs; is it installed? apt-get install chromium");
        loop {
            let mut message = self.messages.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                panic!("no answer to {method}; is it installed? apt-get install chromium")
            });
            if message["id"] == self.calls {
                let error = &message["error"];
                return if error.is_null() {
                    Ok(message["result"].take())
                } else {
                    Err(error.to_string())
                };
            }
            let method = message["method"].as_str().unwrap_or_default();
            if COMPLAINTS.contains(&method) {
                self.complaints.push(message["params"].to_string());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own children when it is asked to; killed, they would write to its folder.
        let close = json!({ "id": 0, "method": "Browser.close" });
        if self.input.write_all(format!("{close}\0").as_bytes()).is_err() {
            let _ = self.child.kill();
        }
        let ended = garrison::site::wait("the browser to end", || self.child.try_wait().ok()?);
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
