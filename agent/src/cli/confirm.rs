//! Asking before something is overwritten.

use std::io::{BufRead, IsTerminal, Write};

use crate::failure::{Code, Failure, Result};

/// Returns when the user agreed: by `--yes`, or by answering `yes` on a terminal.
///
/// # Errors
/// `ConfirmationNeeded` with `what` would be done, when nobody agreed.
pub(super) fn confirm(what: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let refused =
        || Failure::new(Code::ConfirmationNeeded, what).hint("add --yes to go ahead all the same");
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Err(refused());
    }
    let _ = write!(output, "{what}\nType \"yes\" to go ahead: ");
    let _ = output.flush();
    let mut answer = String::new();
    match input.lock().read_line(&mut answer) {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(refused()),
    }
}
