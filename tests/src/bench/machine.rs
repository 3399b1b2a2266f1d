//! The machine that figures are measured on, as far as it explains them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::tools::output;

/// What the report says of the machine.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The processor's model name.
    pub processor: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Main memory in bytes.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Type and options of the filesystem with volume and repositories.
    pub filesystem: String,
}

impl Machine {
    /// This one, with `folder`'s filesystem. What cannot be found out is left empty.
    pub fn here(folder: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let uname = nix::sys::utsname::uname();
        let mut findmnt = Command::new("findmnt");
        findmnt.args(["--noheadings", "--output", "FSTYPE,OPTIONS", "--target"]).arg(folder);
        let filesystem = output(findmnt).unwrap_or_default();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").to_owned(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            kernel: uname.map(|name| name.release().to_string_lossy().into()).unwrap_or_default(),
            filesystem: filesystem.split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

/// The value of a `name : value` line of /proc, empty without one.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(key, _)| key.trim() == name).map_or("", |(_, value)| value.trim())
}

/// proc_meminfo(5): kibibytes, called kB.
fn memory_bytes(meminfo: &str) -> u64 {
    let number = field(meminfo, "MemTotal").split_whitespace().next();
    number.and_then(|number| number.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_understood() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 207\nmodel name\t: Intel(R) Xeon(R) Processor\n";
        assert_eq!(field(cpuinfo, "model name"), "Intel(R) Xeon(R) Processor");
        assert_eq!(field("processor\t: 0\n", "model name"), "");
        assert_eq!(memory_bytes("MemTotal:       24689356 kB\nMemFree: 1 kB\n"), 24_689_356 << 10);
        assert_eq!(memory_bytes(""), 0);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::here(Path::new("/"));
        assert!(machine.processors > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
    }
}
