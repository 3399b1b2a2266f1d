//! The agent's process from its start to its end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thinmover_io::keep_heap_small;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use super::listener::{Listening, listen};
use super::lock::AgentLock;
use super::memory::Memory;
use super::notify::Notifier;
use crate::api::Api;
use crate::config::{self, Settings};
use crate::engine::{CurrentEngine, Engine};
use crate::failure::{Code, Failure, Result};
use crate::http::{Limits, raise_open_files, serve};
use crate::jobs::{self, RunnerHandle, Table};
use crate::journal::{self, Event, Fields};
use crate::sandbox;

/// How often the status text is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Threads for requests that wait for a disk or for LVM; more requests wait for these.
const BLOCKING_THREADS: usize = 16;

/// Runs the agent until it is told to end.
///
/// # Errors
/// What keeps it from starting: a wrong configuration, another agent, a socket in use.
pub(crate) fn run(config: Option<&Path>) -> Result<()> {
    keep_heap_small();
    sandbox::note_service();
    let settings = config::load(config)?;
    for warning in &settings.warnings {
        journal::warn(warning);
    }
    let _lock = AgentLock::take(&settings.state_dir)?;
    let Listening { listener, file: _file } = listen(&settings.socket(), settings.socket_group)?;
    let limits = Limits::default();
    raise_open_files(limits.connections)
        .map_err(|error| failed("cannot raise the limit of open files", &error))?;
    let (table, problems, newer) = Table::load(&settings.state_dir)?;
    for problem in problems {
        journal::warn(problem);
    }
    if newer {
        table.close(jobs::made_by_a_newer_version());
    }
    let engine = Arc::new(CurrentEngine::new(Engine::new(&settings)?));
    let table = Arc::new(table);
    let runner = Arc::new(jobs::start(Arc::clone(&engine), Arc::clone(&table)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| failed("cannot start the runtime", &error))?;
    let daemon = Daemon {
        api: Api::new(Arc::clone(&engine), Arc::clone(&table), Arc::clone(&runner)),
        table,
        config,
        engine,
        runner,
        notifier: Notifier::from_environment(),
    };
    runtime.block_on(async {
        let listener = UnixListener::from_std(listener)
            .map_err(|error| failed("cannot take the socket over", &error))?;
        daemon.serve_until_told(listener, limits).await
    })
}

struct Daemon<'a> {
    config: Option<&'a Path>,
    engine: Arc<CurrentEngine>,
    table: Arc<Table>,
    runner: Arc<RunnerHandle>,
    api: Api,
    notifier: Notifier,
}

impl Daemon<'_> {
    async fn serve_until_told(&self, listener: UnixListener, limits: Limits) -> Result<()> {
        let mut end = Ends::new()?;
        let mut reload = handler(SignalKind::hangup())?;
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, Arc::new(self.api.clone()), limits, stopped));
        self.notifier.ready();
        let version = env!("CARGO_PKG_VERSION");
        journal::write(
            Event::AgentStarted,
            &Fields::default(),
            format!(
                "thinmover {version} serves {}",
                self.engine.get().settings().socket().display()
            ),
        );

        let mut tick = interval(TICK);
        let mut pulse = Pulse::new(&self.notifier);
        let mut memory = Memory::new();
        loop {
            tokio::select! {
                name = end.told() => {
                    self.say_stopping(name);
                    break;
                }
                _ = reload.recv() => self.reload(),
                _ = tick.tick() => {
                    pulse.beat(&self.notifier, &self.runner);
                    if self.table.counts().0 == 0 {
                        memory.give_back();
                    }
                }
            }
        }

        // Jobs put back what they made; meanwhile callers can still ask how they are.
        // On a thread of its own: all others may hang in a request.
        let runner = Arc::clone(&self.runner);
        let (stopped, mut jobs) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            runner.stop();
            let _ = stopped.send(());
        });
        loop {
            tokio::select! {
                _ = &mut jobs => break,
                _ = tick.tick() => pulse.beat(&self.notifier, &self.runner),
            }
        }
        stop.send_replace(true);
        let _ = server.await;
        Ok(())
    }

    fn say_stopping(&self, signal: &str) {
        self.notifier.stopping();
        journal::write(
            Event::AgentStopping,
            &Fields::default(),
            format!("ending on {signal}; jobs are canceled and put back what they made"),
        );
    }

    /// Reads the configuration again. What is wrong with it keeps the old one in force.
    fn reload(&self) {
        self.notifier.reloading();
        match config::load(self.config).and_then(|new| self.apply(&new)) {
            Ok(()) => {
                let message = "the configuration was read again and holds for new jobs";
                journal::write(Event::ConfigReloaded, &Fields::default(), message);
            }
            Err(failure) => {
                let fields = Fields { code: Some(failure.code), ..Fields::default() };
                let message = format!("the old configuration stays in force: {failure}");
                journal::write(Event::ConfigRefused, &fields, message);
            }
        }
        self.notifier.ready();
    }

    fn apply(&self, new: &Settings) -> Result<()> {
        let fixed = self.engine.get().settings().restart_needed(new);
        if !fixed.is_empty() {
            let message = format!("`{}` cannot change while the agent runs", fixed.join("`, `"));
            return Err(Failure::new(Code::Usage, message).hint("restart thinmover.service"));
        }
        for warning in &new.warnings {
            journal::warn(warning);
        }
        self.engine.replace(Engine::new(new)?);
        self.api.settings_changed();
        Ok(())
    }
}

/// Tells systemd what runs, and that it does.
struct Pulse {
    period: Option<Duration>,
    fed_at: Instant,
    turns: u64,
    said: String,
}

impl Pulse {
    fn new(notifier: &Notifier) -> Self {
        Self {
            period: notifier.watchdog_period(),
            fed_at: Instant::now(),
            turns: 0,
            said: String::new(),
        }
    }

    /// Feeds the watchdog only if the job loop has turned since the last time: this loop turns
    /// anyway.
    fn beat(&mut self, notifier: &Notifier, runner: &RunnerHandle) {
        let line = runner.line();
        if line != self.said {
            notifier.status(&line);
            self.said = line;
        }
        let turns = runner.turns();
        if self.period.is_some_and(|period| self.fed_at.elapsed() >= period) && turns != self.turns
        {
            notifier.feed_watchdog();
            self.fed_at = Instant::now();
            self.turns = turns;
        }
    }
}

/// The signals that ask a process to end.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn new() -> Result<Self> {
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
        })
    }

    async fn told(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn handler(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| failed("cannot handle signals", &error))
}

fn failed(doing: &str, error: &std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("{doing}: {error}"))
}
