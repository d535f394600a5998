//! `garrison status`.

use coordinator::api::types::{Feed, PartitionStatus, Status};

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// Shows how the coordinator is.
pub fn run(client: &Client, format: Format) -> Result<Exit, Failure> {
    let status: Status = client.get("/api/v1/status")?;
    output::print(format, &status, text)?;
    Ok(Exit::Success)
}

fn text(status: &Status) -> String {
    let mut text = format!("coordinator  {}\n", status.version);
    if let Some(runs) = status.runs {
        text += &format!("runs         {} active, {} waiting\n", runs.active, runs.waiting);
    }
    for (name, feed) in [("events", &status.events), ("statuses", &status.statuses)] {
        if let Some(feed) = feed {
            text += &format!("{name:<13}{}\n", words(feed));
        }
    }
    let headings = ["PARTITION", "CONNECTED", "AWAY", "QUEUED", "GATES"];
    text + "\n" + &output::table(&headings, status.partitions.iter().map(row))
}

/// How far others were told.
fn words(feed: &Feed) -> String {
    let behind = match feed.behind {
        0 => "all told".to_owned(),
        1 => format!("1 change behind for {}", output::lasting(0, feed.waited_us)),
        count => format!("{count} changes behind for {}", output::lasting(0, feed.waited_us)),
    };
    match &feed.trouble {
        None => behind,
        Some(trouble) => {
            format!("{behind}; since {}: {}", output::moment(trouble.since_us), trouble.reason)
        }
    }
}

fn row(status: &PartitionStatus) -> Vec<String> {
    let PartitionStatus { partition, connected, away, queued, gates } = status;
    let counts = [connected, away, queued, gates].map(usize::to_string);
    [vec![partition.to_string()], counts.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use coordinator::api::types::{Runs, Trouble};

    use super::*;

    #[test]
    fn it_says_who_is_behind_and_why() {
        let trouble = Trouble { since_us: 1_700_000_000_000_000, reason: "no route".to_owned() };
        let partition = PartitionStatus {
            partition: "fra".parse().unwrap(),
            connected: 2,
            away: 1,
            queued: 0,
            gates: 3,
        };
        let status = Status {
            version: "1.2.3".to_owned(),
            partitions: vec![partition],
            runs: Some(Runs { active: 4, waiting: 1 }),
            events: Some(Feed { behind: 7, waited_us: 2_500_000, trouble: Some(trouble) }),
            statuses: Some(Feed { behind: 0, waited_us: 0, trouble: None }),
        };
        let expected = format!(
            "coordinator  1.2.3\nruns         4 active, 1 waiting\n\
             events       7 changes behind for 2.5 s; since {}: no route\nstatuses     all told\n\n\
             PARTITION  CONNECTED  AWAY  QUEUED  GATES\nfra        2          1     0       3\n",
            output::moment(1_700_000_000_000_000)
        );
        assert_eq!(text(&status), expected);
    }
}
