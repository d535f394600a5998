//! `garrison open`.

use std::process::{Command, Stdio};

use clap::Args;
use coordinator::api::types::LoginLink;
use serde::Serialize;

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// The program that shows an address in the desktop's browser.
const OPENER: &str = "xdg-open";

/// What to do with the link.
#[derive(Debug, Args)]
pub struct Options {
    /// Also opens it, in this desktop's browser.
    #[arg(long, short)]
    browser: bool,
}

/// A link for a browser.
#[derive(Debug, Serialize)]
struct Link {
    url: String,
    expires_us: u64,
}

/// Prints a link that opens the pages once, with the rights of whoever asks.
pub fn run(client: &Client, options: &Options, format: Format) -> Result<Exit, Failure> {
    let link = link(client)?;
    output::print(format, &link, |link| format!("{}\n", link.url))?;
    if options.browser {
        show(&link.url)?;
    }
    Ok(Exit::Success)
}

/// The address of a fresh link.
pub fn url(client: &Client) -> Result<String, Failure> {
    Ok(link(client)?.url)
}

fn link(client: &Client) -> Result<Link, Failure> {
    let link: LoginLink = client.post("/api/v1/login-link", &serde_json::json!({}))?;
    let url = link.url.unwrap_or_else(|| format!("{}{}", client.url(), link.path));
    Ok(Link { url, expires_us: link.expires_us })
}

fn show(url: &str) -> Result<(), Failure> {
    let mut command = Command::new(OPENER);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().map_err(|error| {
        Failure::usage(format!("cannot start {OPENER}: {error}; open the link yourself"))
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::usage(format!("{OPENER} found no browser ({status}); open the link yourself")))
}
