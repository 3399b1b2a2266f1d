//! What a policy keeps.

use proptest::prelude::*;

use super::*;
use crate::views::Hold;

const NOW: &str = "2026-03-05T12:00:00Z";

fn backup(source: &str, created_at: &str, ttl: Option<&str>) -> Backup {
    Backup {
        id: created_at.to_owned(),
        source: source.to_owned(),
        source_uuid: None,
        host: "edge".to_owned(),
        host_id: "1".to_owned(),
        created_at: created_at.parse().unwrap(),
        mode: "block".to_owned(),
        tier: "full".to_owned(),
        reason: "no-base".to_owned(),
        total_bytes: 0,
        block_bytes: 0,
        read_bytes: 0,
        new_bytes: 0,
        stored_bytes: 0,
        labels: BTreeMap::new(),
        ttl: ttl.map(str::to_owned),
        previous: None,
        hold: None,
    }
}

fn judged(policy: &Policy, backups: Vec<Backup>) -> Vec<Verdict> {
    policy.judge(backups, NOW.parse().unwrap()).unwrap()
}

/// The times of those that are kept of one volume, with the reasons.
fn kept(policy: &Policy, times: &[&str]) -> Vec<(String, String)> {
    let backups = times.iter().map(|time| backup("vg0/data", time, None)).collect();
    let kept = judged(policy, backups).into_iter().filter(|verdict| !verdict.reasons.is_empty());
    kept.map(|verdict| (verdict.backup.id, verdict.reasons.join(", "))).collect()
}

fn of(period: Period, count: u32) -> Policy {
    Policy { periods: vec![(period, count)], ..Policy::default() }
}

#[test]
fn the_newest_are_kept() {
    let times = ["2026-03-01T00:00:00Z", "2026-03-03T00:00:00Z", "2026-03-02T00:00:00Z"];
    let policy = Policy { last: 2, ..Policy::default() };
    let expected = [(times[1].into(), "last".into()), (times[2].into(), "last".into())];
    assert_eq!(kept(&policy, &times), expected);
    assert_eq!(kept(&Policy { last: 9, ..Policy::default() }, &times).len(), 3);
}

#[test]
fn of_a_period_the_newest_one_is_kept_and_empty_periods_do_not_count() {
    let times = [
        "2026-03-05T11:59:59Z",
        "2026-03-05T11:00:00Z",
        "2026-03-05T10:59:59Z",
        "2026-03-01T23:00:00Z",
        "2026-02-28T23:00:00Z",
        "2025-12-31T23:00:00Z",
        "2024-12-30T00:00:00Z",
    ];
    let names = |period, count| -> Vec<_> {
        kept(&of(period, count), &times).into_iter().map(|(_, reason)| reason).collect()
    };
    let hours = ["hour 2026-03-05 11", "hour 2026-03-05 10", "hour 2026-03-01 23"];
    assert_eq!(names(Period::Hour, 3), hours);
    assert_eq!(kept(&of(Period::Hour, 3), &times)[0].0, times[0]);
    assert_eq!(names(Period::Day, 2), ["day 2026-03-05", "day 2026-03-01"]);
    // 1 March 2026 is a Sunday, the last day of its week; 30 December 2024 is in the next year's.
    let weeks = ["week 2026-W10", "week 2026-W09", "week 2026-W01", "week 2025-W01"];
    assert_eq!(names(Period::Week, 9), weeks);
    let months = ["month 2026-03", "month 2026-02", "month 2025-12", "month 2024-12"];
    assert_eq!(names(Period::Month, 9), months);
    assert_eq!(names(Period::Year, 2), ["year 2026", "year 2025"]);
}

#[test]
fn what_is_no_older_is_kept_to_the_second() {
    let times = ["2026-02-05T12:00:00Z", "2026-02-05T11:59:59Z"];
    let within = |text: &str| {
        kept(&Policy { within: Some(text.parse().unwrap()), ..Policy::default() }, &times)
    };
    assert_eq!(within("1mo"), [(times[0].to_owned(), "within 1mo".to_owned())]);
    assert_eq!(within("28d").len(), 1);
    assert_eq!(within("720h").len(), 2);
    let eternity = Policy { within: Some("19998y".parse().unwrap()), ..Policy::default() };
    assert!(eternity.judge(Vec::new(), NOW.parse().unwrap()).is_err());
}

#[test]
fn a_time_to_live_keeps_until_it_is_over_and_no_longer() {
    let reasons = |policy: &Policy, ttl: Option<&str>| {
        let verdicts = judged(policy, vec![backup("vg0/data", "2026-03-04T12:00:00Z", ttl)]);
        verdicts[0].reasons.join(", ")
    };
    let none = Policy::default();
    assert_eq!(reasons(&none, None), "no ttl");
    assert_eq!(reasons(&none, Some("24h")), "");
    assert_eq!(reasons(&none, Some("24h 1s")), "ttl 24h 1s");
    // Of a newer version, or without end.
    assert_eq!(reasons(&none, Some("until spring")), "ttl until spring");
    assert_eq!(reasons(&none, Some("2562047788015215h")), "ttl 2562047788015215h");
    // A policy keeps longer, and does not take what is still wanted.
    assert_eq!(reasons(&Policy { last: 1, ..none }, Some("24h")), "last");
    let hour = Policy { within: Some("1h".parse().unwrap()), ..Policy::default() };
    assert_eq!(reasons(&hour, Some("25h")), "ttl 25h");
    assert_eq!(reasons(&hour, None), "");
}

#[test]
fn a_held_backup_is_kept_whatever_its_ttl_and_the_rules() {
    for (policy, newest) in
        [(Policy::default(), "no ttl"), (Policy { last: 1, ..Policy::default() }, "last")]
    {
        let over = |time| backup("vg0/data", time, Some("1h"));
        let hold = Hold { reason: "audit".to_owned(), held_at: None, client: String::new() };
        let held = Backup { hold: Some(hold), ..over("2026-03-02T00:00:00Z") };
        let backups = vec![over("2026-03-01T00:00:00Z"), held, backup("vg0/data", NOW, None)];
        let verdicts = judged(&policy, backups);
        let reasons: Vec<_> = verdicts.iter().map(|verdict| verdict.reasons.join(", ")).collect();
        assert_eq!(reasons, [newest, "held: audit", ""]);
    }
}

#[test]
fn each_volume_of_each_host_is_judged_by_itself() {
    let time = |day: u32| format!("2026-03-0{day}T00:00:00Z");
    let moved = |name: &str, day| Backup {
        source_uuid: Some("uuid".to_owned()),
        ..backup(name, &time(day), None)
    };
    let elsewhere =
        Backup { host_id: "2".to_owned(), ..backup("vg0/data", "2026-01-01T00:00:00Z", None) };
    let backups = vec![
        backup("vg0/data", &time(1), None),
        elsewhere,
        moved("vg0/old-name", 2),
        moved("vg0/new-name", 3),
        backup("vg0/data", &time(4), None),
    ];
    let verdicts = judged(&Policy { last: 1, ..Policy::default() }, backups);
    let kept = verdicts.iter().filter(|verdict| !verdict.reasons.is_empty());
    let kept: Vec<_> = kept.map(|verdict| verdict.backup.id.as_str()).collect();
    assert_eq!(kept, [&time(3), &time(4), "2026-01-01T00:00:00Z"]);
    assert_eq!(verdicts.len(), 5);
}

proptest! {
    #[test]
    fn a_further_rule_never_takes_a_backup_and_each_keeps_as_many_as_it_says(
        hours in prop::collection::vec(0..20_000_i64, 0..60),
        last in 0..9_u32, count in 0..9_u32, period in 0..5_usize,
    ) {
        let start: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let times = hours.iter().map(|&hour| (start + SignedDuration::from_hours(hour)).to_string());
        let times: Vec<_> = times.collect();
        let times: Vec<_> = times.iter().map(String::as_str).collect();
        let all = [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];
        let one = of(all[period], count);
        let both = Policy { last, ..one.clone() };
        let (some, more) = (kept(&one, &times), kept(&both, &times));
        if count > 0 {
            prop_assert!(some.len() <= count as usize);
            let periods: std::collections::BTreeSet<_> =
                times.iter().map(|time| all[period].of(time.parse().unwrap())).collect();
            prop_assert_eq!(some.len(), periods.len().min(count as usize));
            for (id, _) in &some {
                prop_assert!(more.iter().any(|(kept, _)| kept == id));
            }
        }
        if last > 0 {
            prop_assert!(more.len() >= times.len().min(last as usize));
        }
    }
}
