//! Reading the configuration's files in their order.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::accounts::{Accounts, HostAccounts};
use super::fragment::Fragment;
use super::settings::Settings;
use crate::failure::{Code, Failure, Result};

/// The vendor's file, and the administrator's that goes over it; drop-ins stand in `config.d/`
/// beside each.
const FILES: [&str; 2] = ["/usr/lib/thinmover/config.toml", "/etc/thinmover/config.toml"];

/// The largest file that is parsed, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads `only`, or else the vendor's file and drop-ins, then the administrator's over them. Files
/// that are not there are skipped, unless named by `only`. May be called again at any time: nothing
/// is remembered.
///
/// # Errors
/// Names the file, the key and what is allowed.
pub(crate) fn load(only: Option<&Path>) -> Result<Settings> {
    match only {
        Some(file) => read_all(&[file.to_owned()], &HostAccounts),
        None => read_all(&files(&FILES.map(PathBuf::from))?, &HostAccounts),
    }
}

fn read_all(files: &[PathBuf], accounts: &dyn Accounts) -> Result<Settings> {
    let mut merged = Fragment::default();
    for file in files {
        let text = read(file).map_err(|error| unreadable(file, &error))?;
        merged = merged.merge(parse(file, &text)?);
    }
    Settings::new(merged, accounts)
}

/// Those of `candidates` that are there, each followed by its drop-ins in the order of their names.
fn files(candidates: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in candidates {
        // A link that leads nowhere is there: it is read, and the error says so.
        match fs::symlink_metadata(file) {
            Ok(_) => files.push(file.clone()),
            Err(error) if error.kind() == ErrorKind::NotFound => (),
            Err(error) => return Err(unreadable(file, &error)),
        }
        let drop_ins = file.with_file_name("config.d");
        let entries = match fs::read_dir(&drop_ins) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&drop_ins, &error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&drop_ins, &error))?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                found.push(path);
            }
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

fn read(file: &Path) -> io::Result<String> {
    let opened = File::open(file)?;
    if opened.metadata()?.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    let mut bytes = Vec::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
        io::Error::new(ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })
}

fn parse(file: &Path, text: &str) -> Result<Fragment> {
    let wrong = |error: &toml::de::Error, key: Option<String>| {
        let line = error.span().map(|span| line_of(text.as_bytes(), span.start));
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        let key = key.map(|key| format!(" `{key}`:")).unwrap_or_default();
        let message = error.message();
        let message = format!("configuration {}{line}:{key} {message}", file.display());
        Failure::new(Code::Usage, message)
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| wrong(&error, None))?;
    serde_path_to_error::deserialize(deserializer)
        .map(|fragment: Fragment| fragment.said_by(file))
        .map_err(|error| {
            let key = error.path().to_string();
            wrong(error.inner(), (key != ".").then_some(key))
        })
}

/// The line, counted from 1, on which the byte at `offset` stands.
fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Usage, format!("configuration {} cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::accounts::tests::TestAccounts;
    use super::*;

    fn load_texts(texts: &[(&str, &str)]) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<_> = texts
            .iter()
            .map(|(name, text)| {
                let file = folder.path().join(name);
                fs::write(&file, text).unwrap();
                file
            })
            .collect();
        read_all(&files, &TestAccounts { has_thinmover: true })
    }

    #[test]
    fn a_wrong_value_or_a_typo_is_named_by_file_line_key_and_what_is_allowed() {
        for (text, line, key, allowed) in [
            ("[pool]\nmax_dta_percent = 3", 2, "pool.max_dta_percent", "`max_data_percent`"),
            ("[acces]", 1, "acces", "`access`"),
            ("[access]\nwrite = {}", 2, "access.write", "`restore`"),
            ("[pool]\n\nmax_data_percent = 0", 3, "pool.max_data_percent", "1 to 100"),
            ("pool.max_metadata_percent = 101", 1, "pool.max_metadata_percent", "1 to 100"),
            ("[pool]\nkeep_base = 1", 2, "pool.keep_base", "boolean"),
            ("[data_path]\nworkers = 0", 2, "data_path.workers", "1 to 64"),
            ("[data_path]\nmemory = \"1KiB\"", 2, "data_path.memory", "48MiB to 16GiB"),
            ("[data_path]\nmemory = -1", 2, "data_path.memory", "512MiB"),
            ("[data_path]\nmemory = \"1TiB\"", 2, "data_path.memory", "48MiB to 16GiB"),
            ("[lvm]\ncommand_timeout_seconds = 0", 2, "lvm.command_timeout_seconds", "1 to 86400"),
            ("state_dir = \"var\"", 1, "state_dir", "absolute path"),
            (
                "[repositories.r]\npassword_file = \"p\"",
                2,
                "repositories.r.password_file",
                "absolute path",
            ),
            ("[repositories.r.s3]\nregio = \"x\"", 2, "repositories.r.s3.regio", "`region`"),
            ("[repositories.r.s3]\nca_file = \"p\"", 2, "repositories.r.s3.ca_file", "absolute"),
            ("repositories.r.s3.sse = \"no\"", 1, "repositories.r.s3.sse", "`aws:kms`"),
            ("repositories.r.s3.retry_time = \"0s\"", 1, "repositories.r.s3.retry_time", "\"1s\""),
            (
                "repositories.r.s3.conditional_writes = true",
                1,
                "repositories.r.s3.conditional_writes",
                "string",
            ),
            ("runtime_dir = 7", 1, "runtime_dir", "path"),
            ("[jobs]\nmax_running = 9", 2, "jobs.max_running", "1 to 8"),
            ("[jobs]\nkeep = -1", 2, "jobs.keep", "0 to 100000"),
            ("[jobs]\noperation_timeout = \"4 apples\"", 2, "jobs.operation_timeout", "\"4h\""),
            ("[jobs]\noperation_timeout = 4", 2, "jobs.operation_timeout", "string"),
            ("[access]\nvolume_groups = [\"vg0\", \"v/g\"]", 2, "access.volume_groups[1]", "a-z"),
            (
                "[access.read]\nusers = [\n  1,\n  -1,\n]",
                4,
                "access.read.users[1]",
                "a name, or a number from 0 to 4294967294",
            ),
            ("[access.admin]\ngroups = [\"\"]", 2, "access.admin.groups[0]", "a name, or a number"),
            ("[access.admin]\nusers = \"root\"", 2, "access.admin.users", "sequence"),
        ] {
            let error =
                load_texts(&[("a.toml", ""), ("b.toml", text), ("c.toml", "")]).unwrap_err();
            assert_eq!(error.code, Code::Usage);
            let place = format!("b.toml, line {line}: `{key}`: ");
            assert!(error.message.contains(&place), "{text}: {}", error.message);
            assert!(error.message.contains(allowed), "{text}: {}", error.message);
        }
    }

    #[test]
    fn what_shows_only_after_merging_is_named_by_the_file_that_says_it() {
        let one = "default_repository = \"x\"\n[repositories.y]\npassword_file = \"/p\"";
        let error = load_texts(&[("a.toml", one), ("b.toml", "[pool]")]).unwrap_err();
        assert!(error.message.contains("a.toml: `repositories.y.url`"), "{}", error.message);
        for (s3, why) in [
            ("[repositories.y.s3]", "no s3:// address"),
            ("[repositories.y]\nurl = \"s3://y\"\ns3.sse_kms_key_id = \"k\"", "aws:kms"),
        ] {
            let url = "[repositories.y]\nurl = \"file:///y\"";
            let error = load_texts(&[("a.toml", url), ("b.toml", s3)]).unwrap_err();
            assert!(error.message.contains("b.toml: `repositories.y.s3`"), "{}", error.message);
            assert!(error.message.contains(why), "{}", error.message);
        }
        let two = "[repositories.y]\nurl = \"file:///y\"";
        let error = load_texts(&[("a.toml", one), ("b.toml", two)]).unwrap_err();
        assert!(error.message.contains("a.toml: `default_repository`"), "{}", error.message);
    }

    #[test]
    fn text_that_is_no_toml_is_named_by_file_and_line() {
        let error = load_texts(&[("a.toml", "[pool]\nmax_data_percent = = 1")]).unwrap_err();
        assert!(error.message.contains("a.toml, line 2: "), "{}", error.message);
    }

    #[test]
    fn files_that_cannot_be_read_as_text_are_clear_errors() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let file = folder.path().join(name);
            fs::write(&file, content).unwrap();
            file
        };
        let dangling = folder.path().join("dangling.toml");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        for (path, why) in [
            (folder.path().join("missing.toml"), "No such file"),
            (dangling, "No such file"),
            (folder.path().to_owned(), "is a directory"),
            (file("latin1.toml", b"[pool]\n# caf\xe9"), "line 2 is not UTF-8"),
            (file("large.toml", &vec![b'\n'; (1 << 20) + 1]), "larger than 1 MiB"),
        ] {
            let error = load(Some(&path)).unwrap_err();
            assert_eq!(error.code, Code::Usage);
            assert!(error.message.contains(path.to_str().unwrap()), "{}", error.message);
            assert!(error.message.contains(why), "{}", error.message);
        }
        assert!(load(Some(&file("fits.toml", &vec![b'\n'; 1 << 20]))).is_ok());
        assert!(load(Some(Path::new("/dev/null"))).is_ok());
    }

    #[test]
    fn drop_ins_follow_their_file_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for dir in ["vendor/config.d", "etc/config.d", "nothing"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        let present = [
            "vendor/config.toml",
            "vendor/config.d/10-a.toml",
            "vendor/config.d/20-b.toml",
            "etc/config.d/05-c.toml",
        ];
        for file in present.into_iter().chain(["etc/config.d/readme.txt"]) {
            fs::write(at(file), "").unwrap();
        }
        let candidates = ["vendor/config.toml", "nothing/config.toml", "etc/config.toml"].map(at);
        assert_eq!(files(&candidates).unwrap(), present.map(at));
    }

    #[test]
    fn later_fragments_win_key_by_key() {
        let settings = load_texts(&[
            (
                "a.toml",
                "state_dir = \"/a\"\n\
                 [repositories.r]\nurl = \"file:///a\"\npassword_file = \"/p\"\n\
                 [jobs]\nmax_running = 2\noperation_timeout = \"4h\"\n\
                 [access.admin]\nusers = [7]\ngroups = [8]",
            ),
            (
                "b.toml",
                "[repositories.r]\nurl = \"file:///b\"\n\
                 [jobs]\noperation_timeout = \"0s\"\n\
                 [access.admin]\nusers = []",
            ),
        ])
        .unwrap();
        assert_eq!(settings.state_dir, PathBuf::from("/a"));
        assert_eq!(settings.repositories["r"].url, "file:///b");
        assert_eq!(settings.repositories["r"].password_file, Some("/p".into()));
        assert_eq!((settings.jobs.max_running, settings.jobs.operation_timeout), (2, None));
        assert_eq!(settings.access.rights(7, 1, &[]), crate::access::Rights::NONE);
        assert_eq!(settings.access.rights(1, 8, &[]), crate::access::Rights::ALL);
    }
}
