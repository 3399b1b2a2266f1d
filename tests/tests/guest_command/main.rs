//! The contract of `cargo guest run`, tested on its own executable.
//!
//! The guest boots without thinmover (`--bare`): these tests are of the guest, not of what it tests.

#![allow(clippy::unwrap_used)] // In the helpers of tests as in tests themselves.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use thinmover_tests::guest::Suite;
use thinmover_tests::guest::image::Image;

/// The image is there: building it takes its time, and says so on standard error.
fn guest<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    Image::cached(&Suite::for_this_host()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_guest"));
    command.args(["run", "--bare"]).args(arguments);
    command
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn assert_the_guest_failed(output: &Output, why: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert_eq!(output.stdout, b"");
    assert!(stderr.contains(why), "{stderr}");
    assert!(stderr.contains("the end of the guest's console"), "{stderr}");
}

/// Prints each of its arguments, and shows the surroundings the contract promises.
const SHOW: &str = r#"
printf '<%s>' "$@"
echo "the error stream" >&2
echo
echo "to a stream by its name" > /dev/stderr
echo "cwd=$(pwd) home=$HOME user=$(id -un) pid1=$(cat /proc/1/comm)"
echo "stdin=$(wc -c)"
echo "disks=$(cat /sys/block/$(basename $(readlink /dev/disk/by-id/virtio-disk0))/size) \
$(cat /sys/block/$(basename $(readlink /dev/disk/by-id/virtio-disk1))/size)"
cmp -n 67108864 /dev/disk/by-id/virtio-disk0 /dev/zero && echo empty
sleep 1000 &
exit 42
"#;

#[test]
fn a_command_finds_what_the_contract_promises() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let script = folder.join("a script with 'quotes'");
    std::fs::write(&script, SHOW).unwrap();
    std::fs::create_dir(folder.join("with")).unwrap();
    std::fs::write(folder.join("with/file"), b"inside\0\xff").unwrap();
    std::os::unix::fs::symlink("with/file", folder.join("link")).unwrap();

    let awkward: [&[u8]; 8] =
        [b"", b" ", b"a b", b"'\"$HOME`id`\\", b"line\nline\n", b"\xff\xfe\t", b"--", b"*"];
    let mut command = guest(&["--disk", "64M", "--disk", "1G", "--memory", "1G", "--with"]);
    command.arg(&script).arg("--").arg("bash").arg(&script);
    command.args(awkward.map(OsStr::from_bytes));
    let output = command.stdin(Stdio::null()).output().unwrap();

    assert_eq!(text(&output.stderr), "the error stream\nto a stream by its name\n");
    let mut wanted = Vec::new();
    for argument in awkward {
        wanted.extend([b"<", argument, b">"].concat());
    }
    wanted.extend(
        b"\ncwd=/ home=/root user=root pid1=systemd\nstdin=0\ndisks=131072 2097152\nempty\n",
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&wanted));
    assert_eq!(output.stdout, wanted);
    assert_eq!(output.status.code(), Some(42));

    let mut command = guest(&["--with"]);
    command.arg(folder.join("with")).arg("--with").arg(folder.join("link"));
    command.arg("--").arg("cat").arg(folder.join("with/file")).arg(folder.join("link"));
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"inside\0\xffinside\0\xff", "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn large_output_arrives_whole_and_in_order() {
    let script = "seq 1 400000; seq 1 1000 >&2; kill -TERM $$";
    let output = guest(&["--", "sh", "-c", script]).output().unwrap();
    let numbers = |last: u32| (1..=last).map(|number| format!("{number}\n")).collect::<String>();
    assert!(output.stdout == numbers(400_000).as_bytes(), "{} bytes", output.stdout.len());
    assert_eq!(text(&output.stderr), numbers(1000));
    assert_eq!(output.status.code(), Some(128 + 15));
}

#[test]
fn output_is_passed_on_while_the_command_runs() {
    use std::io::Read;
    let mut command = guest(&["--", "sh", "-c", "echo early; sleep 1000"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut early = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut early).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(&early, b"early\n");
}

#[test]
fn a_command_past_its_time_is_a_failure_of_the_guest() {
    let begun = Instant::now();
    let output = guest(&["--timeout", "5s", "--", "sleep", "1000"]).output().unwrap();
    assert_the_guest_failed(&output, "the time given to the guest is over");
    // Far from the thousand seconds, on any machine.
    assert!(begun.elapsed() < Duration::from_secs(500));
}

#[test]
fn a_guest_that_does_not_boot_is_a_failure_with_its_console() {
    // The kernel starts and finds no room for its initramfs.
    let output = guest(&["--memory", "72M", "--", "true"]).output().unwrap();
    assert_the_guest_failed(&output, "the guest did not boot");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Kernel panic"));
}

#[test]
fn a_guest_that_goes_down_is_a_failure_of_the_guest() {
    let output = guest(&["--", "sh", "-c", "echo b > /proc/sysrq-trigger"]).output().unwrap();
    assert_the_guest_failed(&output, "the guest went down while the command ran");
}

#[test]
fn a_missing_file_of_with_is_named() {
    let output = guest(&["--with", "/nowhere", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("--with /nowhere"), "{}", text(&output.stderr));
}
