//! `[[webhooks]]`: who is told of events, and of which.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use pipelines::name::WebhookName;
use serde::Deserialize;

use super::{Config, duration, is_private};
use crate::events::schema;

/// Somebody who is told of events by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// How the log and metrics call it, and the file that notes how far it was told.
    pub name: WebhookName,
    /// Where events are posted to: `https://`, or `http://` to this host. It may hold a secret and
    /// is shown nowhere.
    pub url: String,
    /// File with the key that signs events, `whsec_` and 24 to 64 bytes in base64; read at start.
    /// Others than its owner and group must not be able to read it.
    pub secret_file: PathBuf,
    /// Of which partitions: the second part of events' subjects, `_` for what is in several or in
    /// none.
    #[serde(default = "Pattern::all")]
    pub partitions: Vec<Pattern>,
    /// Of which topics: the rest of events' subjects, such as `job.finished`, `run.*` or `*.finished`.
    #[serde(default = "Topics::all")]
    pub topics: Vec<Topics>,
    /// Events that are older are not sent any more, such as `7d`.
    #[serde(default = "default_max_age", deserialize_with = "duration::deserialize")]
    pub max_age: Duration,
    /// Certificates (PEM) of the authorities that the receiver's certificate comes from; the
    /// well-known ones if left out.
    pub ca_file: Option<PathBuf>,
}

/// Words with dots between them, as in NATS' subjects: `*` stands for any one of them, `>` at the end
/// for any that are left, at least one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Vec<String>);

/// A pattern that at least one topic fits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Topics(Pattern);

impl Pattern {
    fn any() -> Pattern {
        Pattern(vec![">".to_owned()])
    }

    fn all() -> Vec<Pattern> {
        vec![Pattern::any()]
    }

    /// Whether it stands for this.
    pub fn fits(&self, text: &str) -> bool {
        let mut words = text.split('.');
        for pattern in &self.0 {
            match (pattern.as_str(), words.next()) {
                (">", Some(_)) => return true,
                (pattern, Some(word)) if pattern == "*" || pattern == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    }

    /// What it stands for, if that is one thing.
    fn exact(&self) -> Option<String> {
        let is_word = |word: &String| word != "*" && word != ">";
        self.0.iter().all(is_word).then(|| self.to_string())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let words: Vec<String> = text.split('.').map(str::to_owned).collect();
        let is_in_word = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let is_word = |(index, word): (usize, &String)| match word.as_str() {
            "*" => true,
            ">" => index + 1 == words.len(),
            word => !word.is_empty() && word.chars().all(is_in_word),
        };
        if words.iter().enumerate().all(is_word) {
            return Ok(Pattern(words));
        }
        Err(format!(
            "'{text}' is no pattern: write it as job.finished, with * for a word, or > at the end for \
             all that are left"
        ))
    }
}

impl Topics {
    fn all() -> Vec<Topics> {
        vec![Topics(Pattern::any())]
    }

    /// Whether it stands for this topic.
    pub fn fits(&self, topic: &str) -> bool {
        self.0.fits(topic)
    }
}

impl TryFrom<String> for Topics {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let pattern = Pattern::try_from(text)?;
        if schema::topics().any(|topic| pattern.fits(topic)) {
            return Ok(Topics(pattern));
        }
        Err(schema::unknown(&pattern.to_string()))
    }
}

impl FromStr for Topics {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Topics::try_from(text.to_owned())
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn default_max_age() -> Duration {
    Duration::from_secs(7 * 24 * 3600)
}

/// What is wrong with the webhooks. Their addresses are not shown: they may hold a secret.
pub(super) fn problems(config: &Config, problems: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for webhook in &config.webhooks {
        let name = &webhook.name;
        if !names.insert(name) {
            problems.push(format!("webhook '{name}' is listed twice"));
        }
        if !is_private(&webhook.url) {
            problems.push(format!(
                "webhook '{name}': others could read what is sent to its url: use https://"
            ));
        }
        let is_known = |partition: &String| {
            partition == "_" || config.partitions.iter().any(|it| it.name.as_str() == partition)
        };
        let partitions = webhook.partitions.iter().filter_map(Pattern::exact);
        for partition in partitions.filter(|it| !is_known(it)) {
            problems.push(format!(
                "webhook '{name}' names partition '{partition}', which is not listed: add it under \
                 [[partitions]]"
            ));
        }
        if webhook.partitions.is_empty() || webhook.topics.is_empty() {
            problems.push(format!("webhook '{name}' is told of nothing: its list is empty"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_subjects() {
        let fits =
            |pattern: &str, text: &str| Pattern::try_from(pattern.to_owned()).unwrap().fits(text);
        for (pattern, text) in [
            ("job.finished", "job.finished"),
            ("job.*", "job.finished"),
            ("*.finished", "run.finished"),
            (">", "run.finished"),
            ("run.>", "run.finished"),
            ("_", "_"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("job.finished", "job.started"),
            ("job", "job.finished"),
            ("*", "job.finished"),
            ("job.finished.>", "job.finished"),
            ("job.finished.*", "job.finished"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        for bad in ["", "job.", "fra-*", ">.finished", "a b"] {
            let error = Pattern::try_from(bad.to_owned()).unwrap_err();
            assert!(error.contains("is no pattern"), "{error}");
        }
    }

    #[test]
    fn a_topic_that_there_is_not_is_a_mistake() {
        for good in ["job.finished", "job.*", "*.finished", ">"] {
            assert_eq!(good.parse::<Topics>().unwrap().to_string(), good);
        }
        for bad in ["jobs.finished", "job", "garrison.job.finished"] {
            let error = bad.parse::<Topics>().unwrap_err();
            let words = format!("there is no topic '{bad}'; there are run.created, ");
            assert!(error.starts_with(&words), "{error}");
        }
        assert!("job..finished".parse::<Topics>().unwrap_err().contains("is no pattern"));
    }

    #[test]
    fn what_cannot_be_told_is_said_at_once_without_the_address() {
        let base = "data = '/d'\n[agents]\nlisten = '0.0.0.0:1'\nnames = ['c']\n[http]\n";
        let webhook = |more: &str| {
            let more = format!("[[webhooks]]\nname = 'chat'\nsecret_file = '/s'\n{more}\n");
            let config: Config = toml::from_str(&format!("{base}{more}{more}")).unwrap();
            config.problems().join("\n")
        };
        let said = webhook("url = 'http://chat.example/hunter2'\npartitions = ['fra', '*', '_']");
        for part in ["'chat' is listed twice", "use https://", "'fra', which is not listed"] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("hunter2") && !said.contains("'_'"), "{said}");
        assert!(webhook("url = 'https://a'\ntopics = []").contains("told of nothing"));
        let one = "[[webhooks]]\nname = 'chat'\nsecret_file = '/s'\nurl = 'http://127.0.0.1:1/'\n";
        let config: Config = toml::from_str(&format!("{base}{one}")).unwrap();
        assert_eq!(config.problems(), Vec::<String>::new());
        assert!(config.webhooks[0].topics[0].fits("run.finished"));
    }
}
