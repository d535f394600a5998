//! A channel: members that share the messages of a topic, each message going to one of them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_nats::datetime;
use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy, pull};

use crate::Error;

/// How long a member of an ephemeral channel may be silent before NATS forgets the channel, at
/// least.
const SILENCE: Duration = Duration::from_secs(300);

/// A channel, as each of its members is to describe it.
#[derive(Debug, Clone)]
pub struct Channel {
    /// The stream that holds the messages.
    pub stream: String,
    /// Which of them, such as `garrison.*.job.finished`; see [`subject`].
    pub subject: String,
    /// How it is called, and for how long it stays.
    pub name: Name,
    /// Where one that is made begins. Default: with what comes from now on.
    pub start: Start,
    /// Messages that all members together may have at a time. Default 1.
    pub max_in_flight: usize,
    /// From when a message that was neither dealt with nor touched is given to another member.
    /// Default 30 s.
    pub timeout: Duration,
    /// How often a message is given out before it becomes a dead letter. Default 5. Each member
    /// counts by itself: NATS does not know of it.
    pub max_attempts: u32,
    /// Messages that are older are dropped, counted and told. Default: none is.
    pub max_age: Option<Duration>,
}

/// How a channel is called, and for how long it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// NATS keeps it and its place until it is deleted.
    Durable(String),
    /// It is gone soon after its last member. NSQ's `NAME#ephemeral`.
    Ephemeral(String),
    /// It is one member's own and gone soon after it. It has no dead letters.
    Own,
}

/// Where a channel that is made begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what is stored from now on.
    New,
    /// With the oldest that the stream holds.
    Oldest,
    /// With what was stored from this moment on, in µs since 1970.
    Since(u64),
    /// With the message of this number in the stream.
    At(u64),
}

/// The subject of a partition's events on a topic, both or one of them any if left out. The topic
/// may end in `.*` or `.>`.
pub fn subject(partition: Option<&str>, topic: Option<&str>) -> String {
    format!("garrison.{}.{}", partition.unwrap_or("*"), topic.unwrap_or(">"))
}

impl Channel {
    /// A channel with the defaults.
    pub fn new(stream: &str, subject: &str, name: Name) -> Channel {
        Channel {
            stream: stream.to_owned(),
            subject: subject.to_owned(),
            name,
            start: Start::New,
            max_in_flight: 1,
            timeout: Duration::from_secs(30),
            max_attempts: 5,
            max_age: None,
        }
    }

    /// What is wrong with it, before NATS is asked.
    ///
    /// # Errors
    /// If NATS would refuse or misunderstand it.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(self.differs(what.to_owned()));
        if let Name::Durable(name) | Name::Ephemeral(name) = &self.name
            && !is_name(name)
        {
            return wrong("a name has letters, digits, '-' and '_', at most 64");
        }
        let tokens: Vec<&str> = self.subject.split('.').collect();
        let is_token = |(index, token): (usize, &&str)| match *token {
            "*" => true,
            ">" => index + 1 == tokens.len(),
            _ => {
                !token.is_empty()
                    && !token.contains(|c: char| "*>".contains(c) || !c.is_ascii_graphic())
            }
        };
        if !tokens.iter().enumerate().all(is_token) {
            return wrong(&format!(
                "'{}' is no subject: '*' stands for one word between dots, '>' for all at the end",
                self.subject
            ));
        }
        if self.max_in_flight == 0 || self.max_attempts == 0 {
            return wrong("at least one message in flight and one attempt are needed");
        }
        if self.timeout < Duration::from_secs(1) {
            return wrong("the timeout is at least 1s");
        }
        Ok(())
    }

    /// As NATS is to make it under this name.
    pub(crate) fn config(&self, name: &str, start: Start) -> pull::Config {
        let durable = matches!(self.name, Name::Durable(_));
        pull::Config {
            name: (!durable).then(|| name.to_owned()),
            durable_name: durable.then(|| name.to_owned()),
            description: Some("A channel of garrison's events".to_owned()),
            deliver_policy: start.policy(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.timeout,
            // What is not given out any more would be lost if nobody listened when NATS says so.
            max_deliver: -1,
            filter_subject: self.subject.clone(),
            max_ack_pending: i64::try_from(self.max_in_flight).unwrap_or(i64::MAX),
            inactive_threshold: if durable {
                Duration::ZERO
            } else {
                SILENCE.max(self.timeout * 2)
            },
            ..pull::Config::default()
        }
    }

    /// Checks one that is there already.
    pub(crate) fn compare(&self, found: &Config) -> Result<(), Error> {
        let mut differences = Vec::new();
        let mut differs = |what: &str, found: String, wanted: String| {
            if found != wanted {
                differences.push(format!("its {what} is {found}, not {wanted}"));
            }
        };
        let wanted = self.config("", self.start);
        differs("subject", found.filter_subject.clone(), wanted.filter_subject);
        differs("timeout", format!("{:?}", found.ack_wait), format!("{:?}", wanted.ack_wait));
        let in_flight = [found.max_ack_pending, wanted.max_ack_pending].map(|it| it.to_string());
        let [found_in_flight, wanted_in_flight] = in_flight;
        differs("number in flight", found_in_flight, wanted_in_flight);
        if found.deliver_subject.is_some() {
            differences.push("it pushes messages to a subject".to_owned());
        }
        if found.ack_policy != AckPolicy::Explicit {
            differences.push("its messages are not acknowledged one by one".to_owned());
        }
        if found.max_deliver > 0 {
            differences.push(format!(
                "it gives up after {} attempts, without a dead letter",
                found.max_deliver
            ));
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(self.differs(format!(
            "{}; ask for what it is, take another name, or change it with 'nats consumer edit'",
            differences.join("; ")
        )))
    }

    fn differs(&self, what: String) -> Error {
        Error::Channel { name: self.name.to_string(), what }
    }
}

/// A name for a channel that nobody else has.
pub(crate) fn own_name() -> String {
    format!("own-{:016x}", rand::random::<u64>())
}

fn is_name(text: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(in_name)
}

impl FromStr for Name {
    type Err = String;
    /// `NAME` or `NAME#ephemeral`.
    fn from_str(text: &str) -> Result<Name, String> {
        let (name, made): (_, fn(String) -> Name) = match text.strip_suffix("#ephemeral") {
            Some(name) => (name, Name::Ephemeral),
            None => (text, Name::Durable),
        };
        if !is_name(name) {
            return Err("a name has letters, digits, '-' and '_', at most 64".to_owned());
        }
        Ok(made(name.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Durable(name) => f.write_str(name),
            Name::Ephemeral(name) => write!(f, "{name}#ephemeral"),
            Name::Own => f.write_str("(its own)"),
        }
    }
}

impl Start {
    /// As NATS says it.
    pub(crate) fn policy(self) -> DeliverPolicy {
        match self {
            Start::New => DeliverPolicy::New,
            Start::Oldest => DeliverPolicy::All,
            Start::At(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
            Start::Since(us) => match datetime::from_nanos(i128::from(us) * 1000) {
                Ok(start_time) => DeliverPolicy::ByStartTime { start_time },
                // Beyond what a clock can show nothing is stored yet.
                Err(_) => DeliverPolicy::New,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> Channel {
        let subject = subject(Some("fra"), Some("job.finished"));
        Channel::new("GARRISON", &subject, Name::Durable("notify".to_owned()))
    }

    #[test]
    fn what_nats_would_misunderstand_is_told() {
        assert!(channel().check().is_ok());
        let said = |change: fn(&mut Channel)| {
            let mut channel = channel();
            change(&mut channel);
            channel.check().map_or_else(|error| error.to_string(), |()| String::new())
        };
        assert_eq!(said(|it| it.subject = subject(None, None)), "");
        assert!(said(|it| it.name = Name::Durable("a.b".to_owned())).contains("letters"));
        for bad in ["a..b", "a.>.b", "a.b*", "a b", ""] {
            let mut channel = channel();
            channel.subject = bad.to_owned();
            assert!(channel.check().unwrap_err().to_string().contains("no subject"), "{bad}");
        }
        assert!(said(|it| it.max_in_flight = 0).contains("at least one"));
        assert!(said(|it| it.timeout = Duration::ZERO).contains("1s"));
    }

    #[test]
    fn a_name_says_whether_it_stays() {
        assert_eq!("notify".parse(), Ok(Name::Durable("notify".to_owned())));
        assert_eq!("notify#ephemeral".parse(), Ok(Name::Ephemeral("notify".to_owned())));
        assert!("a#b".parse::<Name>().is_err() && "".parse::<Name>().is_err());
    }

    #[test]
    fn a_channel_that_is_another_is_told_with_what_differs() {
        let found: Config = {
            use async_nats::jetstream::consumer::IntoConsumerConfig;
            channel().config("notify", Start::New).into_consumer_config()
        };
        assert!(channel().compare(&found).is_ok());
        let other = Config {
            filter_subject: "garrison.>".to_owned(),
            ack_wait: Duration::from_secs(5),
            max_ack_pending: 7,
            max_deliver: 3,
            ..found
        };
        let said = channel().compare(&other).unwrap_err().to_string();
        for part in ["channel notify", "garrison.>, not", "5s, not 30s", "7, not 1", "3 attempts"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}
