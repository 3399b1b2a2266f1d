//! A store that hangs does not keep a job from ending: once it is given up, calls come back.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use thinmover_repository::store::{
    Creation, GiveUp, RangeBuffer, S3Options, Store, StoreErrorKind,
};
use thinmover_repository::{Repository, UploadLimits};

use super::support::lossy::{Line, Loss};
use super::support::server::{Kind, Server};
use super::support::*;

/// Far longer than a request may take.
const HANGS: Loss = Loss::LateRequest(Duration::from_secs(3600));
/// Within which a call that was given up is back; without that it takes minutes.
const SOON: Duration = Duration::from_secs(10);

/// A server behind a line; requests have the time that they have by default.
struct World {
    server: Server,
    line: Line,
    options: S3Options,
}

impl World {
    fn new() -> Self {
        let server = Server::start(Kind::Honours);
        let line = Line::to(server.address());
        let options = S3Options {
            endpoint: Some(line.url()),
            credentials_file: Some(server.credentials_file()),
            ..S3Options::default()
        };
        Self { server, line, options }
    }

    /// From now on every request of this action hangs, and the first is told of.
    fn hang(&self, action: &'static str) -> Receiver<()> {
        let (tell, told) = channel();
        self.line.plan(move |request| {
            let is_met = request.action() == action;
            if is_met {
                let _ = tell.send(());
            }
            is_met.then_some(HANGS)
        });
        told
    }

    /// The keys in the bucket with this in them.
    fn keys(&self, part: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let store = open_bucket("r", &bucket_options(&self.server));
        store
            .list("", &mut |entry| {
                keys.extend(Some(entry.key).filter(|key| key.contains(part)));
                ControlFlow::Continue(())
            })
            .unwrap();
        keys
    }
}

/// Gives up once a request hangs, and returns how long `call` took from then on.
fn give_up_in(call: impl FnOnce(), give_up: &GiveUp, hanging: Receiver<()>) -> Duration {
    std::thread::scope(|scope| {
        let given_up = scope.spawn(move || {
            hanging.recv().unwrap();
            give_up.give_up();
            Instant::now()
        });
        call();
        given_up.join().unwrap().elapsed()
    })
}

#[test]
fn an_upload_ends_soon_though_a_part_of_a_pack_hangs() {
    let world = World::new();
    let give_up = GiveUp::default();
    let store = open_bucket("r", &world.options);
    let repository = Repository::init(store, &cheap(), &passphrase()).unwrap();
    let upload = begin(&repository.until(&give_up), "vg0/a");
    let hanging = world.hang("part");
    let upload_to_the_end = || {
        let failed = store_image(&upload, &noise(1, 40 << 20)).unwrap_err();
        assert!(failed.to_string().contains("did not answer"), "{failed}");
        drop(upload);
    };
    let took = give_up_in(upload_to_the_end, &give_up, hanging);
    assert!(took < SOON, "{took:?}");
    assert!(world.line.actions().contains(&"abort"));
    // The part may still arrive, so nobody is told that all has ended.
    assert_eq!((world.keys("/outcome/").len(), world.keys("/ack/").len()), (0, 0));
}

#[test]
fn every_call_ends_soon_where_everything_hangs() {
    type Call = fn(&dyn Store) -> StoreErrorKind;
    let calls: [(&str, Call); 6] = [
        ("get", |store| store.get("a", 1 << 20).unwrap_err().kind),
        ("get", |store| store.get_range("a", 0..1, &mut RangeBuffer::default()).unwrap_err().kind),
        ("head", |store| store.size("a").unwrap_err().kind),
        ("list", |store| store.list_folders("").unwrap_err().kind),
        ("put", |store| store.create("b", &[0; 1 << 20]).unwrap_err().kind),
        ("delete", |store| store.delete("a").unwrap_err().kind),
    ];
    std::thread::scope(|scope| {
        for (action, call) in calls {
            let (world, give_up) = (World::new(), GiveUp::default());
            scope.spawn(move || {
                let store = open_bucket("r", &world.options).until(&give_up).unwrap();
                let hanging = world.hang(action);
                let took = give_up_in(
                    || assert_eq!(call(&*store), StoreErrorKind::Other, "{action}"),
                    &give_up,
                    hanging,
                );
                assert!(took < SOON, "{action}: {took:?}");
            });
        }
    });
}

#[test]
fn what_is_given_up_is_asked_no_more_but_for_what_is_small() {
    let world = World::new();
    let give_up = GiveUp::default();
    let store: Arc<dyn Store> = open_bucket("r", &world.options);
    let ours = store.until(&give_up).unwrap();
    give_up.give_up();
    let refused = ours.create("large", &[0; 1 << 20]).unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::GivenUp, "{refused}");
    assert!(world.line.take().is_empty(), "nothing was sent");
    assert_eq!(ours.create("small", b"1").unwrap(), Creation::Created);
    world.line.lose("put", 9, Loss::Instead(503, "SlowDown"));
    assert_eq!(ours.create("other", b"1").unwrap_err().kind, StoreErrorKind::Other);
    assert_eq!(world.line.actions(), ["put"; 2], "it is not tried again");
    // Others of the same store go on.
    world.line.lose("put", 1, Loss::Instead(503, "SlowDown"));
    store.create("large", &[0; 1 << 20]).unwrap();
}

#[test]
fn an_upload_that_is_given_up_tells_collection_where_the_store_answers() {
    let world = World::new();
    let give_up = GiveUp::default();
    let store = open_bucket("r", &world.options);
    let repository = Repository::init(store, &cheap(), &passphrase()).unwrap();
    let job = repository.until(&give_up);
    let upload = begin_with(&job, "vg0/a", UploadLimits::default()).unwrap();
    store_image(&upload, &noise(1, 9 << 20)).unwrap();
    give_up.give_up();
    assert!(store_image(&upload, &noise(2, 40 << 20)).is_err());
    drop(upload);
    assert_eq!((world.keys("/outcome/").len(), world.keys("/ack/").len()), (1, 1));
    assert!(repository.sessions().unwrap().is_empty());
}
