use super::*;

fn schedule(cron: &str, timezone: &str) -> Schedule {
    let (cron, timezone) = (cron.to_owned(), timezone.to_owned());
    Schedule { cron, timezone, inputs: Inputs::new(), missed: Missed::Once }
}

/// The next times after a moment, all in UTC to the minute.
fn times(cron: &str, timezone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(cron, timezone);
    let mut after: Timestamp = after.parse().unwrap();
    let mut times = Vec::new();
    while times.len() < count {
        let next = schedule.next(after.as_microsecond() as u64).unwrap();
        after = Timestamp::from_microsecond(next as i64).unwrap();
        times.push(after.strftime("%a %d.%m. %H:%M").to_string());
    }
    times
}

#[test]
fn lists_ranges_steps_and_names_mean_what_they_do_in_cron() {
    let from = "2026-11-21T12:00:00Z";
    let minutes = times("1,5-7,*/20 12 * * *", "UTC", from, 6);
    assert_eq!(minutes.join(" ").replace("Sat 21.11. ", ""), "12:01 12:05 12:06 12:07 12:20 12:40");
    assert_eq!(times("30 2 * * 2", "UTC", from, 1), ["Tue 24.11. 02:30"]);
    assert_eq!(
        times("0 0 1 jan-MAR/2 *", "UTC", from, 2),
        ["Fri 01.01. 00:00", "Mon 01.03. 00:00"]
    );
    assert_eq!(
        times("0 6 * * fri-sun", "UTC", from, 3)[1..],
        ["Fri 27.11. 06:00", "Sat 28.11. 06:00"]
    );
    assert_eq!(times("0 6 * * 7", "UTC", from, 1), times("0 6 * * sun", "UTC", from, 1));
    // A moment that is due itself is not the next.
    assert_eq!(times("0 12 * * *", "UTC", from, 1), ["Sun 22.11. 12:00"]);
}

#[test]
fn of_two_restricted_days_either_suffices() {
    let from = "2026-11-21T12:00:00Z";
    let either = ["Mon 23.11. 00:00", "Mon 30.11. 00:00", "Tue 01.12. 00:00", "Mon 07.12. 00:00"];
    assert_eq!(times("0 0 1 * mon", "UTC", from, 4), either);
    assert_eq!(times("0 0 */31 * mon", "UTC", from, 1), ["Mon 01.02. 00:00"]);
}

#[test]
fn leap_days_come_and_what_never_comes_is_known() {
    let from = "2026-11-21T12:00:00Z";
    assert_eq!(times("0 0 29 2 *", "UTC", from, 1), ["Tue 29.02. 00:00"]);
    assert_eq!(schedule("0 0 30 2 *", "UTC").next(0), None);
    assert_eq!(schedule("0 0 31 4,6,9,11 *", "UTC").next(0), None);
    assert!(schedule("0 0 30 2 mon", "UTC").next(0).is_some());
}

#[test]
fn a_time_that_the_clocks_skip_is_due_right_behind_the_gap_and_once() {
    // Berlin, 29 March 2026: 02:00 is 03:00, 01:00 in UTC. New York, 8 March: 02:00 is 03:00, 07:00.
    let berlin = |cron| times(cron, "Europe/Berlin", "2026-03-28T12:00:00Z", 3);
    assert_eq!(berlin("30 2 * * *"), ["Sun 29.03. 01:00", "Mon 30.03. 00:30", "Tue 31.03. 00:30"]);
    assert_eq!(
        berlin("*/20 2 * * *"),
        ["Sun 29.03. 01:00", "Mon 30.03. 00:00", "Mon 30.03. 00:20"]
    );
    assert_eq!(berlin("0 2,3 * * *"), ["Sun 29.03. 01:00", "Mon 30.03. 00:00", "Mon 30.03. 01:00"]);
    let york = times("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2);
    assert_eq!(york, ["Sun 08.03. 07:00", "Mon 09.03. 06:30"]);
}

#[test]
fn a_time_that_comes_twice_is_due_the_first_time() {
    // Berlin, 25 October 2026: 03:00 is 02:00, 01:00 in UTC. New York, 1 November: 02:00 is 01:00, 06:00.
    let berlin = |cron, after| times(cron, "Europe/Berlin", after, 3);
    let from = "2026-10-24T12:00:00Z";
    let daily = ["Sun 25.10. 00:30", "Mon 26.10. 01:30", "Tue 27.10. 01:30"];
    assert_eq!(berlin("30 2 * * *", from), daily);
    // Also when somebody asks within the second time.
    assert_eq!(berlin("30 2 * * *", "2026-10-25T01:10:00Z")[..2], daily[1..]);
    let hourly = ["Sun 25.10. 00:00", "Sun 25.10. 02:00", "Sun 25.10. 03:00"];
    assert_eq!(berlin("0 * * * *", "2026-10-24T23:30:00Z"), hourly);
    let york = times("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
    assert_eq!(york, ["Sun 01.11. 05:30", "Mon 02.11. 06:30"]);
}

#[test]
fn moments_are_shown_by_the_clocks_of_the_zone() {
    let us = "2026-11-24T01:30:00Z".parse::<Timestamp>().unwrap().as_microsecond() as u64;
    let shown = schedule("30 2 * * 2", "Europe/Berlin").local(us);
    assert_eq!(shown, "2026-11-24 02:30 Europe/Berlin");
    assert_eq!(schedule("30 2 * * 2", "No/Where").next(us), None);
}

#[test]
fn a_file_says_its_schedules_also_when_its_jobs_are_wrong() {
    let find = |text: &str| find(&File { name: "site.yaml".into(), bytes: text.into() });
    let text = "on: { schedule: [{ cron: '0  1 * * *', inputs: { check: true } }] }\n\
                partitions: [fra]\njobs: 7\n";
    let found = find(text).unwrap().unwrap();
    let inputs = [("check".to_owned(), "true".to_owned())].into();
    assert_eq!(found.schedules, [Schedule { inputs, ..schedule("0 1 * * *", "UTC") }]);
    assert_eq!((found.pipeline.as_str(), found.partitions[0].as_str()), ("site", "fra"));
    assert_eq!(find("on: { manual: {} }\njobs: {}\n"), Ok(None));
    assert!(find("on: { schedule: [{ cron: x }] }\n").is_ok_and(|found| found.is_none()));
    assert!(find("jobs: {}\n").is_err());
}
