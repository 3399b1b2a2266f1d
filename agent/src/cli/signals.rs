//! Ctrl-C and SIGTERM end a job in this process cleanly, and leave one of the agent's alone.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Code, Failure, Result};
use crate::stream::{Cancel, Canceled};

/// Makes the signals that ask a process to end cancel a job instead. A second one of them changes
/// nothing: the job is already putting things back.
///
/// # Errors
/// When the handlers cannot be installed.
pub(super) fn cancel_on_signals() -> Result<Cancel> {
    let cancel = Cancel::default();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::new(Code::Failed, format!("cannot handle signals: {error}")))?;
    std::thread::spawn({
        let cancel = cancel.clone();
        move || {
            for signal in signals.forever() {
                let by = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
                cancel.cancel(Canceled::Asked { by: by.to_owned() });
            }
        }
    });
    Ok(cancel)
}

/// Makes the signals that end this process say what becomes of the agent's job, which goes on.
pub(super) fn explain_on_signals(job: &str) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    let job = job.to_owned();
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!(
                "\nThe job goes on in the agent: `thinmover job watch {job}` shows it, \
                 `thinmover job cancel {job}` ends it."
            );
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}
