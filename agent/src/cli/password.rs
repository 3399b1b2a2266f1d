//! Where a repository's passphrase comes from: never from argv or the environment.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use thinmover_repository::Passphrase;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};

/// The systemd credential a unit can hand in (`LoadCredential=`, systemd.exec(5)).
const CREDENTIAL: &str = "thinmover.passphrase";

/// Reads the passphrase from `file`, else the systemd credential, else a prompt.
///
/// # Errors
/// `Usage` when there is nowhere to read it from, else what failed for which file.
pub(super) fn read(file: Option<&Path>) -> Result<Passphrase> {
    if let Some(file) = file.map(Path::to_owned).or_else(credential) {
        return from_file(&file);
    }
    accept(&prompt("Passphrase: ")?)
}

/// As [`read`], but a prompt asks twice: a mistyped new passphrase would lock everybody out.
///
/// # Errors
/// As [`read`], and `Usage` when the two differ.
pub(super) fn read_new(file: Option<&Path>) -> Result<Passphrase> {
    if let Some(file) = file.map(Path::to_owned).or_else(credential) {
        return from_file(&file);
    }
    let first = prompt("New passphrase: ")?;
    if first == prompt("The same again: ")? {
        accept(&first)
    } else {
        Err(Failure::new(Code::Usage, "the two passphrases differ"))
    }
}

fn credential() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
    path.exists().then_some(path)
}

fn from_file(file: &Path) -> Result<Passphrase> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
            _ => Code::Failed,
        };
        Failure::new(code, format!("password file {}: {error}", file.display()))
    })?;
    accept(text.lines().next().unwrap_or_default())
        .map_err(|failure| failure.context(format!("password file {}", file.display())))
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

fn accept(text: &str) -> Result<Passphrase> {
    if text.is_empty() {
        return Err(Failure::new(Code::Usage, "the passphrase is empty"));
    }
    Ok(Passphrase::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_file_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        for (content, code) in [(None, Code::NotFound), (Some("\n"), Code::Usage)] {
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            let failure = read(Some(&file)).err().unwrap();
            assert_eq!(failure.code, code);
            assert!(failure.message.contains(file.to_str().unwrap()));
        }
    }
}
