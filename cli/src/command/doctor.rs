//! `garrison agent doctor`.

use std::path::Path;

use agent::doctor::{Finding, Status, examine};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    /// The worst of all.
    status: Status,
    findings: Vec<Finding>,
}

/// Tests the host of the agent with this configuration; the exit status is 1 if anything failed.
pub fn run(config: &Path, format: Format) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(examine(config));
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    let is = |status: Status| findings.iter().any(|finding| finding.status == status);
    let worst = [Status::Fail, Status::Warn].into_iter().find(|status| is(*status));
    let report = Report { status: worst.unwrap_or(Status::Ok), findings };
    output::print(format, &report, |report| report.findings.iter().map(line).collect())?;
    Ok(if report.status == Status::Fail { Exit::Failed } else { Exit::Success })
}

fn line(finding: &Finding) -> String {
    let status = match finding.status {
        Status::Ok => "ok",
        Status::Warn => "warn",
        Status::Fail => "fail",
    };
    let mut line = format!("{status:<4}  {:<13}  {}\n", finding.check, finding.found);
    if let Some(advice) = &finding.advice {
        line.push_str(&format!("{:21}to do: {advice}\n", ""));
    }
    line
}
