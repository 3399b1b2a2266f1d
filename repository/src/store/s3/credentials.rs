//! The access key, read from a file and read again when that changes.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use zeroize::Zeroizing;

use super::attempt;

/// The most of a file with a secret that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Hands out what the file holds now. The key goes into a type of the library below, which does
/// not erase it.
#[derive(Debug)]
pub(super) struct FileCredentials {
    file: PathBuf,
    profile: String,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    version: Version,
    credential: Arc<AwsCredential>,
}

/// Changes whenever the file does: by being replaced, or written.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    inode: (u64, u64),
    bytes: u64,
    written: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl FileCredentials {
    pub(super) fn new(file: &Path, profile: Option<&str>) -> Result<Self, String> {
        let profile = profile.unwrap_or("default").to_owned();
        let last = Mutex::new(load(file, &profile)?);
        Ok(Self { file: file.to_owned(), profile, last })
    }

    /// As the file says now. One that cannot be read at the moment may just be being written: what
    /// it said last is used until then.
    fn current(&self) -> Arc<AwsCredential> {
        let version = std::fs::metadata(&self.file).map(|metadata| Version::of(&metadata)).ok();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if version.is_some_and(|version| version != last.version) {
            match load(&self.file, &self.profile) {
                Ok(loaded) => *last = loaded,
                Err(reason) => attempt::note_stale_credentials(reason),
            }
        }
        Arc::clone(&last.credential)
    }
}

#[async_trait::async_trait]
impl CredentialProvider for FileCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(self.current())
    }
}

fn load(file: &Path, profile: &str) -> Result<Last, String> {
    let shown = file.display();
    let (version, text) = read_secret(file)
        .map_err(|error| format!("credentials file {shown} cannot be read: {error}"))?;
    let credential = parse(&text, profile)
        .map_err(|reason| format!("credentials file {shown}, profile {profile:?}: {reason}"))?;
    Ok(Last { version, credential: Arc::new(credential) })
}

fn read_secret(file: &Path) -> io::Result<(Version, Zeroizing<String>)> {
    let file = File::open(file)?;
    let version = Version::of(&file.metadata()?);
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 KiB"));
    }
    Ok((version, text))
}

/// The first line of a file that holds one secret.
pub(super) fn read_line(file: &Path) -> io::Result<Zeroizing<String>> {
    let (_, text) = read_secret(file)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().trim().to_owned()))
}

/// Reads AWS's format: sections in brackets, a key and a value on each line.
fn parse(text: &str, profile: &str) -> Result<AwsCredential, String> {
    let (mut is_found, mut is_here) = (false, false);
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let name = name.trim();
            is_here = name.strip_prefix("profile ").unwrap_or(name).trim() == profile;
            is_found |= is_here;
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_here) else { continue };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match key.trim() {
            "aws_access_key_id" => key_id = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    if !is_found {
        return Err(format!("there is no section [{profile}]"));
    }
    let missing = |key: &str| format!("`{key}` is missing");
    Ok(AwsCredential {
        key_id: key_id.ok_or_else(|| missing("aws_access_key_id"))?,
        secret_key: secret_key.ok_or_else(|| missing("aws_secret_access_key"))?,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# made by hand\n[default]\naws_access_key_id = AK1\n\
        aws_secret_access_key=s3cr=et \nregion = x\n\n[profile edge]\n; comment\n\
        aws_access_key_id = AK2\naws_secret_access_key = two\naws_session_token = tok\n";

    #[test]
    fn a_profile_is_a_section_of_the_file() {
        let one = parse(FILE, "default").unwrap();
        assert_eq!((one.key_id.as_str(), one.secret_key.as_str()), ("AK1", "s3cr=et"));
        assert!(one.token.is_none());
        let two = parse(FILE, "edge").unwrap();
        assert_eq!((two.key_id.as_str(), two.token.as_deref()), ("AK2", Some("tok")));
        assert!(parse(FILE, "none").unwrap_err().contains("[none]"));
        let half = "[default]\naws_access_key_id = s3cret";
        let error = parse(half, "default").unwrap_err();
        assert!(error.contains("aws_secret_access_key") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        let key =
            |id: &str| format!("[default]\naws_access_key_id={id}\naws_secret_access_key=s\n");
        let missing = FileCredentials::new(&file, None).unwrap_err();
        assert!(missing.contains("credentials cannot be read"), "{missing}");
        std::fs::write(&file, key("first")).unwrap();
        let credentials = FileCredentials::new(&file, None).unwrap();
        assert_eq!(credentials.current().key_id, "first");
        std::fs::write(dir.path().join("new"), key("other")).unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        assert_eq!(credentials.current().key_id, "other");
        std::fs::write(&file, "[default]").unwrap();
        assert_eq!(credentials.current().key_id, "other");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(credentials.current().key_id, "other");
        std::fs::write(&file, key("third")).unwrap();
        assert_eq!(credentials.current().key_id, "third");
        assert!(!format!("{credentials:?}").contains("\"s\""));
    }
}
