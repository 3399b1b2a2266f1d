//! Passphrases from where nobody has to be asked: a file, or the credential a systemd unit hands in.
//! Never from argv or the environment.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use thinmover_repository::Passphrase;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};

/// The systemd credential a unit can hand in (`LoadCredential=`, systemd.exec(5)).
const CREDENTIAL: &str = "thinmover.passphrase";

/// The most of a password file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

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
    let file = file.map(Path::to_owned).or_else(|| credential(CREDENTIAL));
    file.map(|file| first_line(&file)).transpose()
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

/// The file of a systemd credential, where the unit has one of this name.
pub(crate) fn credential(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    path.exists().then_some(path)
}

fn first_line(file: &Path) -> Result<Zeroizing<String>> {
    let shown = file.display();
    let text = read(file).map_err(|error| {
        let code = match error.kind() {
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::PermissionDenied => Code::PermissionDenied,
            _ => Code::Failed,
        };
        Failure::new(code, format!("password file {shown} cannot be read: {error}")).hint(HINT)
    })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        let message = format!("password file {shown}: its first line is empty");
        return Err(Failure::new(Code::Usage, message).hint(HINT));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

const HINT: &str = "its first line is to hold the repository's passphrase; which file it is stands \
                    under `password_file` in the configuration or after --password-file";

fn read(file: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 64 KiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_passphrase_is_an_error_that_names_it_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let refused = |file: &Path, code| {
            let failure = from_file_or_credential(Some(file)).err().unwrap();
            assert_eq!(failure.code, code, "{failure}");
            assert!(failure.message.contains(file.to_str().unwrap()), "{failure}");
            assert!(failure.hint.as_ref().unwrap().contains("password_file"), "{failure:?}");
        };
        refused(&file, Code::NotFound);
        refused(directory.path(), Code::Failed);
        refused(Path::new("/dev/zero"), Code::Failed);
        for (content, code) in
            [(&b"\n"[..], Code::Usage), (b"", Code::Usage), (b"\xff\n", Code::Failed)]
        {
            std::fs::write(&file, content).unwrap();
            refused(&file, code);
        }
    }

    #[test]
    fn the_passphrase_is_the_first_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "open sesame\r\nand a note").unwrap();
        let text = text_of_file_or_credential(Some(file.path())).unwrap().unwrap();
        assert_eq!(*text, "open sesame");
    }
}
