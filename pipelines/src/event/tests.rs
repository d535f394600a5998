//! What is wanted of which events.

use serde_json::json;

use super::{MAX_AGE_S, Message, Subscription};

fn message() -> Message {
    Message {
        id: "42".into(),
        source: "metal-api".into(),
        kind: String::new(),
        subject: String::new(),
        topic: "machine.event".into(),
        partition: Some("fra-equ01".parse().unwrap()),
        time_us: 1_763_712_345_678_901,
        data: json!({
            "type": "command", "cmd": { "target": "m1", "command": "ON" }, "n": 3, "on": true,
            "tags": ["a", "b"], "none": null, "half": 0.5,
        }),
    }
}

fn to(topic: &str) -> Subscription {
    Subscription {
        topic: topic.into(),
        partitions: Vec::new(),
        when: None,
        inputs: [].into(),
        max_age_s: MAX_AGE_S,
    }
}

#[test]
fn a_topic_and_partitions_are_patterns() {
    for (topic, partitions, wants) in [
        ("machine.event", &[][..], true),
        ("machine.*", &[], true),
        ("*", &["muc-*", "fra-*"], true),
        ("machine", &[], false),
        ("machine.*", &["muc-*"], false),
    ] {
        let partitions = partitions.iter().map(|it| (*it).to_owned()).collect();
        let subscription = Subscription { partitions, ..to(topic) };
        assert_eq!(subscription.wants(&message()), wants, "{subscription:?}");
    }
    let nowhere = Message { partition: None, ..message() };
    assert!(to("machine.*").wants(&nowhere));
    assert!(!Subscription { partitions: vec!["*".into()], ..to("machine.*") }.wants(&nowhere));
}

#[test]
fn a_condition_reads_what_is_there() {
    for (when, wants) in [
        ("event.data.type == 'command' && event.data.cmd.command == 'ON'", true),
        ("event.data.cmd.command in ['ON', 'OFF']", true),
        ("'a' in event.data.tags", true),
        ("event.data.n > 2 && event.data.on == true && event.data.half < 1", true),
        ("event.partition.startsWith('fra') && event.time > '2025'", true),
        ("size(event.data.tags) == 2", true),
        ("event.data.cmd.command == 'OFF'", false),
        // What is not there, or is something else, holds for nothing.
        ("event.data.gone == 'x'", false),
        ("!(event.data.gone == 'x')", false),
        ("event.data.type > 3", false),
        ("event.data.none == 'x'", false),
        // Such a pipeline does not compile, which is to be seen.
        ("event.gone == ''", true),
    ] {
        let subscription = Subscription { when: Some(when.into()), ..to("*") };
        assert_eq!(subscription.wants(&message()), wants, "{when}");
    }
}

#[test]
fn inputs_are_filled_in_as_texts() {
    let filled = |text: &str| {
        let inputs = [("x".to_owned(), text.to_owned())].into();
        Subscription { inputs, ..to("*") }.inputs(&message()).map(|it| it["x"].clone())
    };
    assert_eq!(filled("{{ event.data.cmd.target }}").unwrap(), "m1");
    assert_eq!(filled("{{ event.data.cmd.command | lower }}-{{ event.data.n }}").unwrap(), "on-3");
    assert_eq!(filled("{{ event.data.on }}").unwrap(), "true");
    assert_eq!(
        filled("{{ event.partition }} {{ event.time }}").unwrap(),
        "fra-equ01 2025-11-21T08:05:45.678901Z"
    );
    assert_eq!(filled("{{ event.data.gone | default('none') }}").unwrap(), "none");
    assert_eq!(filled("just text").unwrap(), "just text");
    assert_eq!(
        filled("{{ event.data.gone }}").unwrap_err(),
        "the input `x`: `event.data.gone` is not there"
    );
    for text in ["{{ event.data.cmd }}", "{{ event.data.none }}", "{{ hash('x') }}"] {
        assert!(filled(text).is_err(), "{text}");
    }
}
