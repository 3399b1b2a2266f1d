//! The message catalogue explains exactly the events there are.

use std::collections::{BTreeMap, BTreeSet};

use super::event::Event;
use super::fields::Fields;

const CATALOGUE: &str = include_str!("../../../systemd/thinmover.catalog");

/// An entry of the catalogue: its header lines, and the text below them.
struct Explained {
    headers: BTreeMap<&'static str, &'static str>,
    text: String,
}

/// By id. The format is systemd's "Journal Message Catalogs": `-- ID`, headers, an empty line, text.
fn catalogue() -> BTreeMap<&'static str, Explained> {
    let mut entries = BTreeMap::new();
    let lines: Vec<_> = CATALOGUE.lines().filter(|line| !line.starts_with('#')).collect();
    let starts: Vec<_> = (0..lines.len()).filter(|at| lines[*at].starts_with("-- ")).collect();
    for (nth, start) in starts.iter().enumerate() {
        let end = starts.get(nth + 1).copied().unwrap_or(lines.len());
        let mut entry = lines[start + 1..end].iter().copied();
        let headers =
            entry.by_ref().take_while(|line| !line.is_empty()).map(|line| line.split_once(": "));
        let headers = headers.map(|header| header.expect("a header is `Name: value`")).collect();
        let text = entry.collect::<Vec<_>>().join("\n");
        let id = lines[*start].trim_start_matches("-- ");
        let previous = entries.insert(id, Explained { headers, text });
        assert!(previous.is_none(), "{id} is explained twice");
    }
    entries
}

#[test]
fn ids_are_128_bits_in_lower_case_hexadecimal_and_no_two_are_alike() {
    let ids: BTreeSet<_> = Event::ALL.iter().map(|event| event.message_id()).collect();
    assert_eq!(ids.len(), Event::ALL.len());
    for id in ids {
        let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!(id.len() == 32 && id.chars().all(digit), "{id}");
    }
}

#[test]
fn the_catalogue_explains_exactly_the_events_there_are() {
    let explained: BTreeSet<_> = catalogue().into_keys().collect();
    let written: BTreeSet<_> = Event::ALL.iter().map(|event| event.message_id()).collect();
    assert_eq!(explained, written);
}

#[test]
fn each_explanation_is_whole_and_names_only_fields_there_are() {
    for (id, explained) in catalogue() {
        let names: Vec<_> = explained.headers.keys().copied().collect();
        assert_eq!(names, ["Defined-By", "Subject", "Support"], "{id}");
        assert!(explained.text.trim().len() > 80, "{id} says too little");
        for text in [explained.headers["Subject"], &explained.text] {
            for field in text.split('@').skip(1).step_by(2) {
                assert!(Fields::NAMES.contains(&field), "{id} names @{field}@");
            }
        }
    }
}
