//! Jobs on disk: `STATE_DIR/jobs/ID.json`, a version and the job as the API shows it. Written at
//! each change of phase; progress between two phases is not worth a write.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::job::Job;
use crate::durable::{self, JOBS, UNFINISHED};
use crate::failure::{Code, Failure, Result};

/// The version this build writes; it reads no newer one.
const VERSION: u32 = 1;

/// More than a job within the API's bound on a request can take.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    job: &'a Job,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// The folder of jobs.
#[derive(Debug)]
pub(super) struct JobStore {
    folder: PathBuf,
}

/// What the folder holds.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) jobs: Vec<Job>,
    /// Files that were left as they are, and why.
    pub(super) problems: Vec<String>,
    /// Whether a newer version of thinmover wrote one of them.
    pub(super) newer: bool,
}

impl JobStore {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join(JOBS) }
    }

    /// Reads all jobs. A file that cannot be read is left alone and told of.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub(super) fn load(&self) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(loaded),
            Err(error) => return Err(failure("read", &self.folder, &error)),
        };
        for entry in entries {
            let path = entry.map_err(|error| failure("read", &self.folder, &error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(UNFINISHED) {
                continue;
            }
            match read(&path) {
                Ok(job) => loaded.jobs.push(job),
                Err(Unread::Newer(version)) => {
                    loaded.newer = true;
                    let path = path.display();
                    loaded
                        .problems
                        .push(format!("{path}: a newer thinmover wrote it (version {version})"));
                }
                Err(Unread::Damaged(why)) => {
                    loaded.problems.push(format!("{}: {why}", path.display()));
                }
            }
        }
        Ok(loaded)
    }

    /// Makes the job as it is now durable.
    pub(super) fn write(&self, job: &Job) -> Result<()> {
        let path = self.path(&job.id);
        let text = serde_json::to_vec(&Written { version: VERSION, job })
            .map_err(|error| Failure::from_error(Code::Failed, &error))?;
        durable::replace(&path, &text).map_err(|error| failure("write", &path, &error))
    }

    pub(super) fn remove(&self, id: &str) -> Result<()> {
        let path = self.path(id);
        durable::remove(&path).map_err(|error| failure("remove", &path, &error))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

enum Unread {
    Newer(u32),
    Damaged(String),
}

fn read(path: &Path) -> std::result::Result<Job, Unread> {
    let damaged = |why: String| Unread::Damaged(why);
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|error| damaged(error.to_string()))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| damaged(error.to_string()))?;
    let version: VersionOnly =
        serde_json::from_slice(&text).map_err(|error| damaged(format!("no job: {error}")))?;
    if version.version > VERSION {
        return Err(Unread::Newer(version.version));
    }
    let job: Job =
        serde_json::from_slice(&text).map_err(|error| damaged(format!("no job: {error}")))?;
    if path.file_stem().is_some_and(|name| name == job.id.as_str()) {
        Ok(job)
    } else {
        Err(damaged(format!("it holds job {}", job.id)))
    }
}

fn failure(doing: &str, path: &Path, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::NoSpace,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::Failed,
    };
    Failure::new(code, format!("cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::job::Kind;
    use super::*;

    fn job(id: &str) -> Job {
        Job::new(id.into(), Kind::Upload, serde_json::Map::new(), "host")
    }

    #[test]
    fn a_job_comes_back_as_it_was_written() {
        let state = tempfile::tempdir().unwrap();
        let store = JobStore::new(state.path());
        store.write(&job("a")).unwrap();
        store.write(&job("b")).unwrap();
        store.remove("b").unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.jobs.len(), 1);
        assert_eq!(loaded.jobs[0].id, "a");
        assert!(loaded.problems.is_empty() && !loaded.newer);
    }

    #[test]
    fn what_cannot_be_read_is_left_alone_and_told_of() {
        let state = tempfile::tempdir().unwrap();
        let store = JobStore::new(state.path());
        store.write(&job("whole")).unwrap();
        let whole = fs::read_to_string(store.path("whole")).unwrap();
        for (name, text) in [
            ("empty", ""),
            ("cut", &whole[..whole.len() / 2]),
            ("renamed", whole.as_str()),
            ("newer", "{\"version\":2}"),
        ] {
            fs::write(store.path(name), text).unwrap();
        }
        let loaded = store.load().unwrap();
        assert_eq!(loaded.jobs.len(), 1);
        assert_eq!(loaded.problems.len(), 4, "{:?}", loaded.problems);
        assert!(loaded.newer);
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 5);
    }

    #[test]
    fn what_was_never_finished_is_no_job() {
        let state = tempfile::tempdir().unwrap();
        let store = JobStore::new(state.path());
        store.write(&job("a")).unwrap();
        fs::write(store.folder.join(".half"), "{").unwrap();
        let loaded = store.load().unwrap();
        assert_eq!((loaded.jobs.len(), loaded.problems.len()), (1, 0));
    }
}
