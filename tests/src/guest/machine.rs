//! A running guest: boot, commands, power cut.
//!
//! Three virtio ports connect to the agent inside (`files/agent`, which describes the protocol):
//! control lines, the command's standard output and its standard error.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::accelerator::Accelerator;
use super::image::Image;
use super::qemu::{self, Machine, PORTS};

/// How much of the console, and of what qemu says, an error shows.
const TAIL_LINES: usize = 40;
const TAIL_BYTES: i64 = 16 * 1024;

/// Something a running command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It wrote this to its standard output.
    Out(Vec<u8>),
    /// It wrote this to its standard error.
    Err(Vec<u8>),
    /// It ended with this status (128 + N after signal N); all its output has been reported.
    Exited(u8),
}

/// What a finished command left.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status, 128 + N after signal N.
    pub status: u8,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// A booted guest. Dropping it kills it; [`Guest::cut_power`] says so in a test.
///
/// It also dies with the thread that booted it.
#[derive(Debug)]
pub struct Guest {
    qemu: Child,
    console: File,
    complaints: File,
    control: UnixStream,
    control_text: Vec<u8>,
    out: UnixStream,
    err: UnixStream,
    events: VecDeque<Event>,
    deadline: Option<Instant>,
}

impl Guest {
    /// Boots a machine and waits until it takes commands. After `deadline`, if there is one,
    /// everything that waits for the guest fails.
    pub fn boot(machine: &Machine, deadline: Option<Instant>) -> Result<Self> {
        let image = Image::cached(&machine.suite)?;
        let accelerator = Accelerator::probe(&image)?;
        // Where qemu, too, puts what a discarded disk's writes become: not in a small /tmp in memory.
        let scratch = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
        let run = tempfile::Builder::new().prefix("thinmover-guest.").tempdir_in(scratch)?;
        let run = run.path();
        machine.payload.pack(&run.join("payload.tar"), run)?;

        let mut create = File::options();
        create.create_new(true).write(true).read(true);
        let console = create.open(run.join("console"))?;
        let complaints = create.open(run.join("complaints"))?;
        let listeners = PORTS.map(|port| listen(&run.join(port)));
        let mut command = qemu::command(machine, &image, accelerator, run)?;
        command.stdout(Stdio::null());
        command.stdin(if machine.terminal { Stdio::inherit() } else { Stdio::null() });
        if machine.terminal {
            command.stdout(Stdio::inherit());
        }
        command.stderr(complaints.try_clone()?);
        let mut qemu = command.spawn().context("cannot start setpriv and qemu-system-x86_64")?;
        let mut streams = Vec::new();
        for listener in listeners {
            match accept(&listener?, &mut qemu) {
                Ok(stream) => streams.push(stream),
                Err(error) => {
                    let _ = qemu.kill();
                    let _ = qemu.wait();
                    return Err(error.context(format!("qemu did not start: {}", tail(&complaints))));
                }
            }
        }
        let (Some(err), Some(out), Some(control)) = (streams.pop(), streams.pop(), streams.pop())
        else {
            bail!("qemu did not connect all ports");
        };
        let boot_deadline = Instant::now() + machine.boot_limit;
        let mut guest = Self {
            qemu,
            console,
            complaints,
            control,
            control_text: Vec::new(),
            out,
            err,
            events: VecDeque::new(),
            deadline: Some(deadline.map_or(boot_deadline, |limit| limit.min(boot_deadline))),
        };
        guest.wait_until_ready()?;
        guest.deadline = deadline;
        // qemu has opened all it needs of the run's folder, which can go now.
        Ok(guest)
    }

    /// Starts a command: a program and its arguments, of any bytes but NUL. One runs at a time.
    pub fn start<S: AsRef<OsStr>>(&mut self, command: &[S]) -> Result<()> {
        let mut arguments = Vec::new();
        for argument in command {
            arguments.extend_from_slice(argument.as_ref().as_bytes());
            arguments.push(0);
        }
        let mut line = base64(&arguments);
        line.push('\n');
        self.control.set_nonblocking(false)?;
        let sent = self.control.write_all(line.as_bytes());
        self.control.set_nonblocking(true)?;
        sent.map_err(|error| self.failure(&format!("the guest takes no command: {error}")))
    }

    /// Waits for the next thing the running command does.
    pub fn next_event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.wait_for_input()?;
            // Output first: when the end is reported, all output is already on this side.
            let exited = self.read_control()?;
            for (stream, kind) in
                [(&mut self.out, Event::Out as fn(Vec<u8>) -> Event), (&mut self.err, Event::Err)]
            {
                let bytes = read_available(stream)?.bytes;
                if !bytes.is_empty() {
                    self.events.push_back(kind(bytes));
                }
            }
            match exited {
                Control::Nothing => {}
                Control::Line(line) => self.events.push_back(Event::Exited(parse_exited(&line)?)),
                Control::Closed if self.events.is_empty() => {
                    return Err(self.failure("the guest went down while the command ran"));
                }
                Control::Closed => {}
            }
        }
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<OsStr>>(&mut self, command: &[S]) -> Result<Output> {
        self.start(command)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.next_event()? {
                Event::Out(bytes) => stdout.extend(bytes),
                Event::Err(bytes) => stderr.extend(bytes),
                Event::Exited(status) => return Ok(Output { status, stdout, stderr }),
            }
        }
    }

    /// Starts a command and returns as soon as a line of its output contains `text`; the moment for
    /// a power cut. An error when it ends before.
    pub fn run_until<S: AsRef<OsStr>>(&mut self, command: &[S], text: &str) -> Result<()> {
        self.start(command)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let seen = match self.next_event()? {
                Event::Out(bytes) => append(&mut stdout, &bytes),
                Event::Err(bytes) => append(&mut stderr, &bytes),
                Event::Exited(status) => bail!(
                    "the command ended with status {status} and did not write {text:?}\n{}{}",
                    String::from_utf8_lossy(&stdout),
                    String::from_utf8_lossy(&stderr)
                ),
            };
            if String::from_utf8_lossy(seen).contains(text) {
                return Ok(());
            }
        }
    }

    /// Ends the machine at once, as when the plug is pulled.
    pub fn cut_power(self) {
        drop(self);
    }

    /// Shuts the guest down in order and waits for its end.
    pub fn power_off(mut self) -> Result<()> {
        self.start(&["systemctl", "poweroff"])?;
        while let Ok(_event) = self.next_event() {}
        let limit = Instant::now() + Duration::from_secs(60);
        while self.qemu.try_wait()?.is_none() {
            if Instant::now() > limit {
                return Err(self.failure("the guest does not shut down"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        loop {
            self.wait_for_input().context("the guest did not boot")?;
            match self.read_control()? {
                Control::Line(line) if line == "ready" => return Ok(()),
                Control::Line(line) => bail!("the guest's agent says {line:?}"),
                Control::Closed => return Err(self.failure("the guest did not boot")),
                Control::Nothing => {}
            }
        }
    }

    fn wait_for_input(&self) -> Result<()> {
        let timeout = match self.deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let ports = [&self.control, &self.out, &self.err];
        let mut polled = ports.map(|port| PollFd::new(port.as_fd(), PollFlags::POLLIN));
        loop {
            match poll(&mut polled, timeout) {
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) => return Err(self.failure("the time given to the guest is over")),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn read_control(&mut self) -> Result<Control> {
        let read = read_available(&mut self.control)?;
        self.control_text.extend(read.bytes);
        if let Some(end) = self.control_text.iter().position(|&byte| byte == b'\n') {
            let line = self.control_text.drain(..=end).collect::<Vec<_>>();
            return Ok(Control::Line(String::from_utf8_lossy(&line).trim_end().to_owned()));
        }
        Ok(if read.closed { Control::Closed } else { Control::Nothing })
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let (console, complaints) = (tail(&self.console), tail(&self.complaints));
        let qemu = if complaints.is_empty() { "" } else { "\n--- qemu ---\n" };
        anyhow!("{what}\n--- the end of the guest's console ---\n{console}{qemu}{complaints}")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

enum Control {
    Nothing,
    Line(String),
    Closed,
}

struct Available {
    bytes: Vec<u8>,
    closed: bool,
}

fn read_available(stream: &mut UnixStream) -> Result<Available> {
    let mut available = Available { bytes: Vec::new(), closed: false };
    let mut buffer = [0; 64 * 1024];
    // Bounded, so that a command that writes without end is passed on meanwhile.
    for _ in 0..64 {
        match stream.read(&mut buffer) {
            Ok(0) => available.closed = true,
            Ok(count) => {
                available.bytes.extend_from_slice(&buffer[..count]);
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => available.closed = true,
            Err(error) => return Err(error).context("cannot read from the guest"),
        }
        break;
    }
    Ok(available)
}

fn parse_exited(line: &str) -> Result<u8> {
    let status = line.strip_prefix("exited ").and_then(|status| status.parse().ok());
    status.with_context(|| format!("the guest's agent says {line:?}"))
}

fn listen(path: &Path) -> Result<UnixListener> {
    let listener = UnixListener::bind(path)
        .with_context(|| format!("cannot listen on {}; is TMPDIR too long?", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn accept(listener: &UnixListener, qemu: &mut Child) -> Result<UnixStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = qemu.try_wait()? {
            bail!("it ended with {status}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn append<'a>(all: &'a mut Vec<u8>, bytes: &[u8]) -> &'a [u8] {
    all.extend_from_slice(bytes);
    all
}

/// The last lines of a file that another process writes.
fn tail(mut file: &File) -> String {
    let mut bytes = Vec::new();
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let tail = TAIL_BYTES.min(i64::try_from(length).unwrap_or(0));
    if file.seek(SeekFrom::End(-tail)).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
        return "(it cannot be read)".to_owned();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_usize, |group, &byte| group << 8 | usize::from(byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            if digit <= chunk.len() {
                text.push(char::from(DIGITS[group >> (18 - 6 * digit) & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads_as_rfc_4648_says() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
