//! Ctrl-C and SIGTERM end a job cleanly.

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
