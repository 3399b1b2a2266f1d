//! Memory hardly grows with the repository: a domain is maintained in a process of its own whose peak is
//! measured.

use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::large::LargeStore;
use crate::collect::{CollectionEnd, MaintainOptions, RepackLimits, maintain};
use crate::crypto::{DomainKeys, Encryption, RepositoryKeys, Secret};
use crate::names::DomainId;
use crate::store::Store;

const BLOCKS: &str = "THINMOVER_TEST_BLOCKS";
/// What the simulated store takes for the index run that it makes up.
const STORE_MIB: usize = 27;
const CHILD: &str = "collect::tests::scale::maintains_a_domain_of_so_many_blocks";

fn keys() -> Arc<DomainKeys> {
    let keys = RepositoryKeys::new(Secret::new([1; 32]));
    Arc::new(keys.domain(DomainId([2; 16]), [3; 16], Encryption::default()))
}

/// `VmHWM` of proc_pid_status(5), in MiB.
fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
}

#[test]
#[ignore = "a process of the test below"]
fn maintains_a_domain_of_so_many_blocks() {
    let blocks = std::env::var(BLOCKS).unwrap().parse().unwrap();
    let large = Arc::new(LargeStore::new(keys(), blocks));
    let store: Arc<dyn Store> = Arc::clone(&large) as Arc<dyn Store>;
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let options = MaintainOptions {
        fence_after: None,
        wait: Duration::ZERO,
        memory_bytes: 128 << 20,
        scratch: scratch.path().to_owned(),
        repack: RepackLimits::default(),
    };
    thinmover_io::keep_heap_small();
    let (before, begun) = (peak_mib(), Instant::now());
    let collected =
        maintain(&store, &keys(), "", &options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(collected.end, CollectionEnd::Finished);
    assert_eq!(collected.deleted_containers as usize, large.packs().div_ceil(100));
    let seconds = begun.elapsed().as_secs();
    eprintln!("{blocks} blocks: {} MiB before, {} at most, {seconds} s", before, peak_mib());
}

/// Runs the above. Returns the peak in MiB, with that before it began.
fn peak_of(blocks: usize) -> (usize, usize) {
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env(BLOCKS, blocks.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
    let line = said.lines().find(|line| line.contains("blocks: ")).unwrap();
    eprintln!("{line}");
    let numbers: Vec<usize> =
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|it| it.parse().ok()).collect();
    (numbers[1], numbers[2])
}

#[test]
fn maintenance_of_many_blocks_stays_within_its_memory() {
    let is_long = std::env::var("THINMOVER_TEST_ROUNDS").is_ok_and(|rounds| rounds != "1");
    let blocks = if is_long { 50_000_000 } else { 2_000_000 };
    let (before, peak) = peak_of(blocks);
    assert!(peak - before < 192 + STORE_MIB, "{before} MiB before, {peak} at most");
}
