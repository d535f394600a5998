//! `[[nats.triggers]]`: streams whose messages start pipelines.

use pipelines::name::PartitionName;
use serde::Deserialize;

/// What stands in a subject for the partition, and for the topic.
const PARTITION: &str = "{partition}";
const TOPIC: &str = "{topic}";

/// What a subject has for the partition where it is of none, or of several.
const NO_PARTITION: &str = "_";

/// A stream whose messages start pipelines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// The JetStream stream; whoever fills it makes it.
    pub stream: String,
    /// Which subjects of it, such as `{partition}-machine` or `garrison.{partition}.{topic}`.
    pub subject: String,
    /// The topic of all its messages, where the subject does not tell it.
    pub topic: Option<String>,
    /// The partition of all its messages, where the subject does not tell it. Without either they are
    /// of none, and start pipelines wherever these run.
    pub partition: Option<PartitionName>,
    /// How the coordinator's consumer is called there; it is made if there is none.
    #[serde(default = "default_channel")]
    pub channel: String,
}

fn default_channel() -> String {
    "garrison".to_owned()
}

/// What a subject tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The partition; none if it is of none, or of several.
    pub partition: Option<PartitionName>,
    /// The topic.
    pub topic: String,
}

impl Trigger {
    /// The subjects that are asked for, with wildcards.
    pub fn filter(&self) -> String {
        let wild = |word: &str| match word {
            TOPIC => ">".to_owned(),
            word if word.contains(PARTITION) => "*".to_owned(),
            word => word.to_owned(),
        };
        self.subject.split('.').map(wild).collect::<Vec<_>>().join(".")
    }

    /// What a subject tells; none if it is not one of these.
    pub fn place(&self, subject: &str) -> Option<Place> {
        let (mut partition, mut topic) = (self.partition.clone(), self.topic.clone());
        let mut rest = subject;
        for word in self.subject.split('.') {
            if word == TOPIC {
                topic = Some(rest.to_owned()).filter(|topic| !topic.is_empty());
                rest = "";
                break;
            }
            let (found, behind) = rest.split_once('.').unwrap_or((rest, ""));
            rest = behind;
            match word.split_once(PARTITION) {
                None if found == word => {}
                None => return None,
                Some((before, after)) => {
                    let name = found.strip_prefix(before)?.strip_suffix(after)?;
                    partition = match name {
                        NO_PARTITION => None,
                        name => Some(name.parse().ok()?),
                    };
                }
            }
        }
        rest.is_empty().then_some(Place { partition, topic: topic? })
    }

    pub(super) fn problems(&self, problems: &mut Vec<String>) {
        let Trigger { stream, subject, topic, partition, channel } = self;
        let mut wrong = |what: &str| {
            problems.push(format!("nats.triggers of stream '{stream}': {what}"));
        };
        for (key, name) in [("stream", stream), ("channel", channel)] {
            let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(in_name) {
                wrong(&format!("{key} is '{name}': a name has letters, digits, '-' and '_'"));
            }
        }
        let words: Vec<&str> = subject.split('.').collect();
        let is_plain = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic() && !"*>{}".contains(c))
        };
        let is_word = |word: &str| match word.split_once(PARTITION) {
            None => is_plain(word),
            Some((before, after)) => [before, after].iter().all(|it| it.is_empty() || is_plain(it)),
        };
        let (last, others) = words.split_last().unwrap_or((&"", &[]));
        if !others.iter().all(|word| is_word(word)) || !(*last == TOPIC || is_word(last)) {
            wrong(&format!(
                "subject is '{subject}': write words with dots between them, {PARTITION} in one of \
                 them, and {TOPIC} as the last"
            ));
        }
        let count = subject.matches(PARTITION).count();
        if count > 1 {
            wrong("subject names {partition} more than once");
        }
        if count > 0 && partition.is_some() {
            wrong("the subject tells the partition already: remove `partition`");
        }
        if (*last == TOPIC) == topic.is_some() {
            wrong("give either `topic`, or {topic} at the end of the subject");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(text: &str) -> Trigger {
        toml::from_str(&format!("stream = 'METAL'\n{text}")).unwrap()
    }

    fn place(text: &str, subject: &str) -> Option<(String, String)> {
        let place = trigger(text).place(subject)?;
        let partition = place.partition.map_or("none".to_owned(), |it| it.to_string());
        Some((partition, place.topic))
    }

    #[test]
    fn a_subject_tells_partition_and_topic() {
        let ours = "subject = 'garrison.{partition}.{topic}'";
        let metal = "subject = '{partition}-machine'\ntopic = 'machine'";
        let global = "subject = 'allocation'\ntopic = 'allocation'";
        let fixed = "subject = 'fra.>'\ntopic = 'x'\npartition = 'fra'".replace(".>", ".y");
        for (text, subject, partition, topic) in [
            (ours, "garrison.fra-equ01.run.finished", "fra-equ01", "run.finished"),
            (ours, "garrison._.run.finished", "none", "run.finished"),
            (metal, "fra-equ01-machine", "fra-equ01", "machine"),
            (global, "allocation", "none", "allocation"),
            (&fixed, "fra.y", "fra", "x"),
        ] {
            let found = place(text, subject);
            assert_eq!(found, Some((partition.to_owned(), topic.to_owned())), "{subject}");
        }
        for (text, subject) in [
            (ours, "garrison.fra-equ01"),
            (ours, "other.fra-equ01.run.finished"),
            (metal, "fra-equ01-switch"),
            (metal, "Fra!-machine"),
            (metal, "fra-equ01-machine.more"),
            (global, "allocations"),
        ] {
            assert_eq!(place(text, subject), None, "{subject}");
        }
        assert_eq!(trigger(ours).filter(), "garrison.*.>");
        assert_eq!(trigger(metal).filter(), "*");
        assert_eq!(trigger(global).filter(), "allocation");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let problems = |text: &str| {
            let mut problems = Vec::new();
            trigger(text).problems(&mut problems);
            problems.join("\n")
        };
        assert_eq!(problems("subject = 'a.{partition}.{topic}'"), "");
        assert!(problems("subject = 'a.>'\ntopic = 'x'").contains("write words with dots"));
        assert!(problems("subject = '{topic}.a'\ntopic = 'x'").contains("write words with dots"));
        assert!(problems("subject = 'a'").contains("either `topic`"));
        assert!(problems("subject = 'a.{topic}'\ntopic = 'x'").contains("either `topic`"));
        let twice = "subject = '{partition}.{topic}'\npartition = 'fra'";
        assert!(problems(twice).contains("remove `partition`"));
        let twice = "subject = '{partition}{partition}'\ntopic = 'x'\nchannel = 'a.b'";
        assert!(problems(twice).contains("more than once"));
        assert!(problems(twice).contains("channel is 'a.b'"));
    }
}
