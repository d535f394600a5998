#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use super::*;

/// A window of one time on these days.
fn window(days: &[Day], from: &str, to: &str, timezone: &str) -> Window {
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    Window {
        partition: "fra".parse().unwrap(),
        name: "maintenance".parse().unwrap(),
        timezone: timezone.to_owned(),
        times: vec![Time { days: days.iter().copied().collect(), from, to }],
    }
}

fn us(at: &str) -> u64 {
    at.parse::<Timestamp>().unwrap().as_microsecond() as u64
}

/// When it is open next, in UTC to the second.
fn next(window: &Window, now: &str) -> String {
    let next = Timestamp::from_microsecond(window.next(us(now)).unwrap() as i64).unwrap();
    next.strftime("%a %d.%m. %H:%M:%S").to_string()
}

#[test]
fn it_opens_and_closes_to_the_moment_by_the_clocks_of_the_partition() {
    let night = window(&[Day::Tue, Day::Thu], "02:00", "05:00", "Europe/Berlin");
    assert_eq!(next(&night, "2026-11-21T12:00:00Z"), "Tue 24.11. 01:00:00");
    assert!(!night.is_open(us("2026-11-24T01:00:00Z") - 1));
    assert!(night.is_open(us("2026-11-24T01:00:00Z")));
    assert!(night.is_open(us("2026-11-24T04:00:00Z") - 1));
    assert_eq!(next(&night, "2026-11-24T03:59:59Z"), "Tue 24.11. 03:59:59");
    assert_eq!(next(&night, "2026-11-24T04:00:00Z"), "Thu 26.11. 01:00:00");
    assert_eq!(next(&night, "2026-11-26T04:00:00Z"), "Tue 01.12. 01:00:00");
    let shown = night.local(us("2026-11-24T01:00:00Z"));
    assert_eq!(shown, "Tue 2026-11-24 02:00 (Europe/Berlin)");
}

#[test]
fn it_lasts_over_midnight_and_all_day() {
    let late = window(&[Day::Sun], "22:00", "04:00", "UTC");
    assert!(late.is_open(us("2026-11-22T22:00:00Z")));
    assert!(late.is_open(us("2026-11-23T03:59:59Z")));
    assert_eq!(next(&late, "2026-11-23T04:00:00Z"), "Sun 29.11. 22:00:00");
    // Its day is that on which it begins.
    assert!(!late.is_open(us("2026-11-22T01:00:00Z")));
    let all = [Day::Sat, Day::Sun];
    let weekend = window(&all, "00:00", "24:00", "America/New_York");
    assert!(weekend.is_open(us("2026-11-22T05:00:00Z")));
    assert!(weekend.is_open(us("2026-11-23T04:59:59Z")));
    assert_eq!(next(&weekend, "2026-11-23T05:00:00Z"), "Sat 28.11. 05:00:00");
}

#[test]
fn of_several_times_the_first_that_comes_opens_it() {
    let mut both = window(&[Day::Wed], "20:00", "22:00", "UTC");
    both.times.extend(window(&[Day::Wed], "01:00", "02:00", "UTC").times);
    assert_eq!(next(&both, "2026-11-24T12:00:00Z"), "Wed 25.11. 01:00:00");
    assert_eq!(next(&both, "2026-11-25T02:00:00Z"), "Wed 25.11. 20:00:00");
    assert_eq!(both.words(), "wed 20:00-22:00; wed 01:00-02:00");
    assert_eq!(Window { times: Vec::new(), ..both }.next(0), None);
}

#[test]
fn what_the_clocks_skip_of_it_is_not_there() {
    // Berlin, 29 March 2026: 02:00 is 03:00, 01:00 in UTC.
    let sunday = |from, to| window(&[Day::Sun], from, to, "Europe/Berlin");
    let before = "2026-03-28T12:00:00Z";
    let begins = sunday("02:30", "05:00");
    assert_eq!(next(&begins, before), "Sun 29.03. 01:00:00");
    assert_eq!(next(&begins, "2026-03-29T03:00:00Z"), "Sun 05.04. 00:30:00");
    let ends = sunday("01:00", "02:30");
    assert!(ends.is_open(us("2026-03-29T00:59:59Z")));
    assert!(!ends.is_open(us("2026-03-29T01:00:00Z")));
    // All of it: it is there again a week later.
    assert_eq!(next(&sunday("02:00", "03:00"), before), "Sun 05.04. 00:00:00");
}

#[test]
fn a_time_that_comes_twice_counts_the_first_time() {
    // Berlin, 25 October 2026: 03:00 is 02:00, 01:00 in UTC.
    let sunday = |from, to| window(&[Day::Sun], from, to, "Europe/Berlin");
    let begins = sunday("02:30", "04:00");
    assert_eq!(next(&begins, "2026-10-24T12:00:00Z"), "Sun 25.10. 00:30:00");
    // The clocks show less than 02:30 again, and it stays open.
    assert!(begins.is_open(us("2026-10-25T01:10:00Z")));
    assert!(!begins.is_open(us("2026-10-25T03:00:00Z")));
    let ends = sunday("01:00", "02:30");
    assert!(ends.is_open(us("2026-10-25T00:29:59Z")));
    assert_eq!(next(&ends, "2026-10-25T00:30:00Z"), "Sun 01.11. 00:00:00");
}
