//! A repository's passphrase as a user gives it: in a file, by a systemd credential, or typed.

use std::io::IsTerminal;
use std::path::Path;

use thinmover_repository::Passphrase;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};
use crate::passphrase::{accept, text_of_file_or_credential};

/// Reads the passphrase from `file`, else the systemd credential, else a prompt.
///
/// # Errors
/// `Usage` when there is nowhere to read it from, else what failed for which file.
pub(super) fn read(file: Option<&Path>) -> Result<Passphrase> {
    accept(&read_text(file)?)
}

/// As [`read`], to be sent to the agent.
///
/// # Errors
/// As [`read`].
pub(super) fn read_text(file: Option<&Path>) -> Result<Zeroizing<String>> {
    match text_of_file_or_credential(file)? {
        Some(text) => Ok(text),
        None => prompt("Passphrase: "),
    }
}

/// As [`read`], but a prompt asks twice: a mistyped new passphrase would lock everybody out.
///
/// # Errors
/// As [`read`], and `Usage` when the two differ.
pub(super) fn read_new(file: Option<&Path>) -> Result<Passphrase> {
    if let Some(text) = text_of_file_or_credential(file)? {
        return accept(&text);
    }
    let first = prompt("New passphrase: ")?;
    if first == prompt("The same again: ")? {
        accept(&first)
    } else {
        Err(Failure::new(Code::Usage, "the two passphrases differ"))
    }
}

fn prompt(question: &str) -> Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Code::Usage, "no passphrase was given")
            .hint("name a file that holds it with --password-file"));
    }
    rpassword::prompt_password(question)
        .map(Zeroizing::new)
        .map_err(|error| Failure::new(Code::Failed, format!("cannot ask for it: {error}")))
}
