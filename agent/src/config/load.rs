//! Reading the configuration's files in their order.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::fragment::Fragment;
use super::settings::Settings;
use crate::failure::{Code, Failure, Result};

/// The vendor's file, and the administrator's that goes over it; drop-ins stand in `config.d/`
/// beside each.
const FILES: [&str; 2] = ["/usr/lib/thinmover/config.toml", "/etc/thinmover/config.toml"];

/// Reads `only`, or else the vendor's file and drop-ins, then the administrator's over them. Files
/// that are not there are skipped, unless named by `only`.
///
/// # Errors
/// Names the file, the key and what is allowed.
pub(crate) fn load(only: Option<&Path>) -> Result<Settings> {
    let mut merged = Fragment::default();
    let mut last = PathBuf::from(FILES[1]);
    for file in only.map_or_else(files, |file| Ok(vec![file.to_owned()]))? {
        match fs::read_to_string(&file) {
            Ok(text) => merged = merged.merge(parse(&file, &text)?),
            Err(error) if error.kind() == ErrorKind::NotFound && only.is_none() => continue,
            Err(error) => return Err(unreadable(&file, &error)),
        }
        last = file;
    }
    Settings::new(merged).map_err(|message| {
        Failure::new(Code::Usage, format!("configuration {}: {message}", last.display()))
    })
}

fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in FILES.map(PathBuf::from) {
        let drop_ins = file.with_file_name("config.d");
        files.push(file);
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

fn parse(file: &Path, text: &str) -> Result<Fragment> {
    toml::from_str(text).map_err(|error| {
        Failure::new(Code::Usage, format!("configuration {}: {error}", file.display()))
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Usage, format!("configuration {} cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_an_error_that_names_file_key_and_what_is_allowed() {
        let error = parse(Path::new("/etc/x.toml"), "[pool]\nmax_dta_percent = 3").unwrap_err();
        for part in ["/etc/x.toml", "max_dta_percent", "max_data_percent"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
        assert_eq!(error.code, Code::Usage);
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        assert_eq!(load(Some(Path::new("/nonexistent/x.toml"))).unwrap_err().code, Code::Usage);
    }

    #[test]
    fn later_fragments_win_key_by_key() {
        let under = parse(
            Path::new("a"),
            "state_dir = \"/a\"\n[repositories.r]\nurl = \"file:///a\"\npassword_file = \"/p\"",
        );
        let over = parse(Path::new("b"), "[repositories.r]\nurl = \"file:///b\"");
        let settings = Settings::new(under.unwrap().merge(over.unwrap())).unwrap();
        assert_eq!(settings.state_dir, PathBuf::from("/a"));
        assert_eq!(settings.repositories["r"].url, "file:///b");
        assert_eq!(settings.repositories["r"].password_file, Some("/p".into()));
    }
}
