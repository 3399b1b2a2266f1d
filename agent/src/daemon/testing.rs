//! A test in a process of its own, with the environment that systemd would give it. Changing the
//! environment of this process is not safe: other tests run in it.

use std::env;
use std::process::Command;

/// Runs the ignored test `name` of this executable by way of `shell`. `environment` is what stands
/// before a command in a shell: `$$` in it is the child's own process id.
pub(super) fn run_child(environment: &str, name: &str, mut shell: Command) {
    for (variable, _) in env::vars_os() {
        let systemds = ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_"];
        if systemds.iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
            shell.env_remove(variable);
        }
    }
    // What is on standard input is the first descriptor that systemd hands over.
    let script = format!("exec env {environment} \"$0\" \"$@\" 3<&0 </dev/null");
    let output = shell
        .args(["-c", &script])
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
