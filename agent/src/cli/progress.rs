//! Shows a job's progress while it runs: a bar on a terminal, nothing in a pipe, one JSON object a
//! line where that is asked for.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::stream::Progress;

/// `--progress`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    /// A bar when stderr is a terminal, else nothing
    #[default]
    Auto,
    /// One JSON object a line on stderr
    Json,
    /// Nothing
    None,
}

/// Renders until dropped.
pub(super) struct Display {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts to show `progress` on stderr.
    pub(super) fn start(mode: ProgressMode, progress: &Progress) -> Self {
        let progress = progress.clone();
        let (stop, stopped) = channel();
        let thread = match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => {
                Some(std::thread::spawn(move || {
                    let bar = ProgressBar::new(0);
                    every(Duration::from_millis(100), &stopped, || draw(&bar, &progress));
                    bar.finish_and_clear();
                }))
            }
            ProgressMode::Json => Some(std::thread::spawn(move || {
                let started = Instant::now();
                every(Duration::from_secs(1), &stopped, || print_line(&progress, started));
                print_line(&progress, started);
            })),
            ProgressMode::Auto | ProgressMode::None => None,
        };
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn every(period: Duration, stopped: &std::sync::mpsc::Receiver<()>, mut act: impl FnMut()) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(period) {
        act();
    }
}

fn bar_style() -> ProgressStyle {
    let style = ProgressStyle::with_template(
        "{msg} [{bar:30}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left",
    );
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn draw(bar: &ProgressBar, progress: &Progress) {
    bar.set_message(progress.phase());
    if progress.total_bytes() == 0 {
        // Nothing that is counted in bytes; the phase says how far it is.
        let style = ProgressStyle::with_template("{spinner} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.tick();
        return;
    }
    bar.set_style(bar_style());
    bar.set_length(progress.total_bytes());
    bar.set_position(progress.done_bytes());
}

fn print_line(progress: &Progress, started: Instant) {
    let (done, total) = (progress.done_bytes(), progress.total_bytes());
    let seconds = started.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss)] // A rate for people.
    let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
    eprintln!(
        "{}",
        json!({
            "phase": progress.phase(),
            "bytesDone": done,
            "totalBytes": total,
            "bytesPerSecond": rate.round(),
            "seconds": (seconds * 1000.0).round() / 1000.0,
        })
    );
}
