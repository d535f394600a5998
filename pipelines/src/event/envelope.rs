//! What a message says: a CloudEvent in JSON, or any other JSON, which then is all data.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Message;
use crate::name::PartitionName;

/// Largest message, in bytes.
const LARGEST: usize = 64 << 10;

/// Longest id, source, type and subject, in bytes each.
const LONGEST: usize = 255;

/// What CloudEvents 1.0 gives an event beside its data.
#[derive(Deserialize)]
struct Envelope {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    subject: String,
    time: Option<Timestamp>,
    #[serde(default)]
    data: Value,
}

/// A message as it came, with what is known of it beside what it says.
#[derive(Debug)]
pub struct Received<'a> {
    /// Where it came from; its source, if it names none.
    pub stream: &'a str,
    /// Its name there; its id, if it has none.
    pub id: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Its partition, if it is of one.
    pub partition: Option<&'a PartitionName>,
    /// When it happened, in µs since 1970.
    pub time_us: u64,
    /// What was published.
    pub payload: &'a [u8],
}

/// An event, and the time that it names itself, in µs since 1970.
#[derive(Debug)]
pub struct Read {
    /// The event.
    pub message: Message,
    /// The time; none if it names none.
    pub said_us: Option<i64>,
}

/// Reads a message.
///
/// # Errors
/// Why it is no event, as the end of a sentence.
pub fn read(received: &Received<'_>) -> Result<Read, String> {
    let Received { stream, id, topic, partition, time_us, payload } = *received;
    if payload.len() > LARGEST {
        return Err(format!("it has {} bytes; at most {LARGEST} are read", payload.len()));
    }
    let value: Value =
        serde_json::from_slice(payload).map_err(|error| format!("it is no JSON: {error}"))?;
    let (topic, partition) = (topic.to_owned(), partition.cloned());
    let said = match value.get("specversion") {
        None => Envelope {
            id: id.to_owned(),
            source: stream.to_owned(),
            kind: String::new(),
            subject: String::new(),
            time: None,
            data: value,
        },
        Some(Value::String(version)) if version.starts_with("1.") => serde_json::from_value(value)
            .map_err(|error| format!("it is no CloudEvent: {error}"))?,
        Some(version) => return Err(format!("it is a CloudEvent of version {version}, not 1.0")),
    };
    let Envelope { id, source, kind, subject, time, data } = said;
    for (name, text) in [("id", &id), ("source", &source), ("type", &kind), ("subject", &subject)] {
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(format!("its {name} is longer than {LONGEST} bytes, or no line of text"));
        }
    }
    let message = Message { id, source, kind, subject, topic, partition, time_us, data };
    Ok(Read { message, said_us: time.map(Timestamp::as_microsecond) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_of(payload: &[u8]) -> Result<Read, String> {
        let (stream, id, topic) = ("METAL", "METAL:7", "machine");
        read(&Received { stream, id, topic, partition: None, time_us: 5, payload })
    }

    #[test]
    fn a_cloud_event_names_itself_and_plain_json_is_named_by_its_place() {
        let event = json!({
            "specversion": "1.0", "id": "1", "source": "metal-api", "type": "machine.v1",
            "time": "2025-11-21T08:05:45Z", "data": { "machine": "m1" }, "extension": 3,
        });
        let read = read_of(event.to_string().as_bytes()).unwrap();
        assert_eq!((read.message.id.as_str(), read.message.source.as_str()), ("1", "metal-api"));
        assert_eq!(read.message.data, json!({ "machine": "m1" }));
        assert_eq!(read.said_us, Some(1_763_712_345_000_000));

        let read = read_of(br#"{ "id": "m1", "time": "2025-11-21T08:05:45Z" }"#).unwrap();
        assert_eq!((read.message.id.as_str(), read.message.source.as_str()), ("METAL:7", "METAL"));
        assert_eq!(read.message.data["id"], "m1");
        assert_eq!((read.said_us, read.message.time_us), (None, 5));
    }

    #[test]
    fn what_is_no_event_is_told() {
        let long = format!("{:?}", "x".repeat(LARGEST));
        let id = json!({ "specversion": "1.0", "id": "a\nb", "source": "s", "type": "t" });
        for (payload, why) in [
            ("on", "it is no JSON"),
            (&long, "bytes; at most 65536"),
            (r#"{ "specversion": "1.0", "id": "1" }"#, "it is no CloudEvent: missing field"),
            (r#"{ "specversion": "0.3" }"#, "version \"0.3\", not 1.0"),
            (&id.to_string(), "its id is longer"),
            (&"[".repeat(200), "it is no JSON"),
        ] {
            let said = read_of(payload.as_bytes()).err().unwrap();
            assert!(said.contains(why), "{said}");
        }
    }
}
