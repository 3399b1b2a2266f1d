//! Snapshots by the caller's ids: the same request again means the same snapshot, also when the agent
//! was killed in between, and a request never gets or deletes another's.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use thinmover_tests::fixtures::{HostState, lvm};
use thinmover_tests::loop_devices::KILLS;

use crate::job::Host;
use crate::service::{Service, can_run, wait_until};

const SOCKET: &str = "/run/thinmover/api.sock";
const CLAIMS: &str = "/var/lib/thinmover/snapshots";

/// Where the agent dies while it makes a snapshot.
const POINTS: [&str; 4] =
    ["snapshot:claimed", "lvm:lvcreate:before", "lvm:lvcreate:after", "snapshot:made"];

pub(crate) fn trials() -> Vec<Trial> {
    let ignored = !can_run();
    [
        Trial::test("a_snapshot_asked_for_again_after_a_kill_is_there_once", killed)
            .with_kind(KILLS),
        Trial::test("a_snapshots_id_stands_for_no_other_snapshot", others),
    ]
    .map(|trial| trial.with_ignored_flag(ignored))
    .into()
}

fn killed() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    service.json(0, &["status"]);
    let host = &service.host;
    let before = HostState::now();
    let asked = spec(&host.data.name, Some("kept"));
    for point in POINTS {
        service.die_once_at(point);
        assert_eq!(request("PUT", "mine", Some(&asked)), None, "{point}: it died");
        let (status, made) = answer("PUT", "mine", Some(&asked));
        assert_eq!(status, 200, "{point}: it is known: {made}");
        assert_eq!(made["status"]["readyToUse"], true, "{point}: {made}");
        let uuids = lvm(&format!("lvs --noheadings -o lv_uuid {}/kept", host.pool.group));
        assert_eq!(made["status"]["snapshotHandle"], uuids.trim(), "{point}: {made}");
        let (_, again) = answer("GET", "mine", None);
        assert_eq!(again["status"], made["status"], "{point}");

        assert_eq!(answer("DELETE", "mine", None).0, 200, "{point}");
        assert_eq!(answer("GET", "mine", None).0, 404, "{point}");
        service.assert_clean(&before, point);
        assert_eq!(claims(), 0, "{point}");
    }

    // Found by its name only, and deleted by the id.
    service.die_once_at("snapshot:made");
    assert_eq!(request("PUT", "mine", Some(&asked)), None);
    assert_eq!(answer("DELETE", "mine", None).0, 200);
    assert_eq!(answer("GET", "mine", None).0, 404);
    service.assert_clean(&before, "deleted without being asked for again");

    service.die_once_at("snapshot:deleted");
    assert_eq!(answer("PUT", "mine", Some(&asked)).0, 201);
    assert_eq!(request("DELETE", "mine", None), None, "it died");
    let (status, gone) = answer("GET", "mine", None);
    assert_eq!((status, &gone["status"]["readyToUse"]), (200, &false.into()), "{gone}");
    assert_eq!(answer("DELETE", "mine", None).0, 200);
    assert_eq!(claims(), 0);
    service.assert_clean(&before, "deleted twice");
    Ok(())
}

fn others() -> Result<(), Failed> {
    let service = Service::new(Host::with_ext4());
    let host = &service.host;
    let other = host.other("other");
    let before = HostState::now();
    let first = answer("PUT", "first", Some(&spec(&host.data.name, Some("kept"))));
    assert_eq!(first.0, 201, "{first:?}");
    for origin in [&host.data.name, &other.name] {
        let (status, refused) = answer("PUT", "second", Some(&spec(origin, Some("kept"))));
        assert_eq!((status, &refused["error"]["code"]), (409, &"exists".into()), "{refused}");
    }
    assert_eq!(answer("DELETE", "second", None).0, 404);
    assert_eq!(answer("GET", "first", None).1["status"], first.1["status"]);
    assert_eq!(claims(), 1);

    // Another spec under a known id, and no name at all.
    let (status, _) = answer("PUT", "first", Some(&spec(&host.data.name, None)));
    assert_eq!(status, 409);
    assert_eq!(answer("PUT", "third", Some(&spec(&host.data.name, None))).0, 201);
    for id in ["first", "third"] {
        assert_eq!(answer("DELETE", id, None).0, 200);
    }
    assert_eq!(claims(), 0);
    service.assert_clean(&before, "all are deleted");
    Ok(())
}

fn spec(volume: &str, name: Option<&str>) -> Value {
    json!({"spec": {"source": {"volume": volume}, "name": name}})
}

fn claims() -> usize {
    fs::read_dir(CLAIMS).unwrap().count()
}

/// The answer to a [`request`]. Who comes between the end of an agent and the start of the next is
/// hung up on by systemd, and comes again.
fn answer(method: &str, id: &str, body: Option<&Value>) -> (u16, Value) {
    let mut answer = None;
    wait_until("an agent answers", || {
        answer = request(method, id, body);
        answer.is_some()
    });
    answer.unwrap()
}

/// A request about the snapshot `id`: its status and document; nothing when the agent died.
fn request(method: &str, id: &str, body: Option<&Value>) -> Option<(u16, Value)> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = UnixStream::connect(SOCKET).unwrap();
    let head = format!("{method} /v1/snapshots/{id} HTTP/1.1\r\nhost: thinmover\r\n");
    let rest = format!("connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all((head + &rest).as_bytes()).unwrap();
    let mut answer = String::new();
    // A killed agent resets the connection or just ends it.
    let _ = stream.read_to_string(&mut answer);
    let (head, document) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().unwrap();
    Some((status, serde_json::from_str(document).unwrap()))
}
