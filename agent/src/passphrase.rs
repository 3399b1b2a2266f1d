//! Passphrases from where nobody has to be asked: a file, or the credential a systemd unit hands in.
//! Never from argv or the environment.

use std::path::{Path, PathBuf};

use thinmover_repository::Passphrase;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};

/// The systemd credential a unit can hand in (`LoadCredential=`, systemd.exec(5)).
const CREDENTIAL: &str = "thinmover.passphrase";

/// Reads a passphrase from `file`, else from the systemd credential; nothing where there is neither.
///
/// # Errors
/// What failed for which file; `Usage` for an empty passphrase.
pub(crate) fn from_file_or_credential(file: Option<&Path>) -> Result<Option<Passphrase>> {
    text_of_file_or_credential(file)?.map(|text| accept(&text)).transpose()
}

/// As [`from_file_or_credential`], as text.
///
/// # Errors
/// As [`from_file_or_credential`].
pub(crate) fn text_of_file_or_credential(file: Option<&Path>) -> Result<Option<Zeroizing<String>>> {
    file.map(Path::to_owned).or_else(credential).map(|file| first_line(&file)).transpose()
}

/// Takes what somebody typed or sent.
///
/// # Errors
/// `Usage` for an empty one.
pub(crate) fn accept(text: &str) -> Result<Passphrase> {
    if text.is_empty() {
        return Err(Failure::new(Code::Usage, "the passphrase is empty"));
    }
    Ok(Passphrase::new(text))
}

fn credential() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
    path.exists().then_some(path)
}

fn first_line(file: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
            _ => Code::Failed,
        };
        Failure::new(code, format!("password file {}: {error}", file.display()))
    })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        let message = format!("password file {}: its first line is empty", file.display());
        return Err(Failure::new(Code::Usage, message));
    }
    Ok(Zeroizing::new(line.to_owned()))
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
            let failure = from_file_or_credential(Some(&file)).err().unwrap();
            assert_eq!(failure.code, code);
            assert!(failure.message.contains(file.to_str().unwrap()));
        }
    }
}
