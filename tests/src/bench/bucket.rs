//! A bucket on this machine for a round over S3, and how many requests of which kind it was sent.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

/// The server, as `scripts/install-deps s3` names it.
pub const SERVER: &str = "versitygw-v1.8.0";

const BUCKET: &str = "backup";
const KEY_ID: &str = "thinmover-bench";
const SECRET: &str = "nobody-else-can-reach-it";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How a bucket is reached.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// `http://host:port`.
    pub endpoint: String,
    /// Its name.
    pub name: &'static str,
    /// The access key's id.
    pub key_id: &'static str,
    /// And its secret.
    pub secret: &'static str,
    /// Both in AWS's format.
    pub credentials_file: PathBuf,
    /// Where the server keeps its objects.
    pub objects: PathBuf,
}

/// A server with an empty bucket. It ends when this is dropped.
pub struct Server {
    child: Child,
    bucket: Bucket,
    log: PathBuf,
}

/// Requests by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Objects made in one request.
    pub put: u64,
    /// Parts of larger ones.
    pub part: u64,
    /// Those made of parts: begun, completed, given up.
    pub multipart: u64,
    /// Objects or ranges of them read.
    pub get: u64,
    /// Objects or the bucket looked at.
    pub head: u64,
    /// Pages of listings.
    pub list: u64,
    /// Objects deleted.
    pub delete: u64,
    /// What is none of these.
    pub other: u64,
}

impl Server {
    /// Starts one on 127.0.0.1 that keeps everything in `folder`, which exists.
    ///
    /// # Errors
    /// When the server is not installed or does not start.
    pub fn start(folder: &Path) -> Result<Self> {
        let program = installed()?;
        for part in ["objects", "metadata"] {
            fs::create_dir_all(folder.join(part).join(BUCKET))?;
        }
        let credentials_file = folder.join("credentials");
        let credentials =
            format!("[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n");
        fs::write(&credentials_file, credentials)?;
        // Another may take the port before the server does.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let (log, said) = (folder.join("requests"), fs::File::create(folder.join("server.log"))?);
        let mut command = Command::new(&program);
        command.env("ROOT_ACCESS_KEY_ID", KEY_ID).env("ROOT_SECRET_ACCESS_KEY", SECRET);
        command.args(["--keep-alive", "--quiet", "--port", &address.to_string()]);
        command.arg("--access-log").arg(&log).arg("posix");
        command.arg("--sidecar").arg(folder.join("metadata")).arg(folder.join("objects"));
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let bucket = Bucket {
            endpoint: format!("http://{address}"),
            name: BUCKET,
            key_id: KEY_ID,
            secret: SECRET,
            credentials_file,
            objects: folder.join("objects").join(BUCKET),
        };
        let mut server = Self { child, bucket, log };
        server.wait_for(address)?;
        Ok(server)
    }

    /// Its bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// What it has been sent since it started.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn requests(&self) -> Result<Requests> {
        Ok(Requests::in_log(&fs::read_to_string(&self.log).context("the server keeps no log")?))
    }

    fn wait_for(&mut self, address: SocketAddr) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{SERVER} ended when it was started ({status})");
            }
            ensure!(began.elapsed() < START_TIMEOUT, "{SERVER} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, built by `scripts/install-deps s3`.
fn installed() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let program = Path::new(&home).join(".cache/thinmover-s3").join(SERVER);
    ensure!(
        program.exists(),
        "{} is not there; `scripts/install-deps s3` builds it",
        program.display()
    );
    Ok(program)
}

impl Requests {
    /// In a log of versitygw: a line for each, with the action as a word that begins with `s3_`.
    fn in_log(log: &str) -> Self {
        let mut requests = Self::default();
        for action in log.lines().filter_map(action) {
            let count = match action {
                "PutObject" => &mut requests.put,
                "UploadPart" => &mut requests.part,
                action if action.contains("MultipartUpload") => &mut requests.multipart,
                "GetObject" => &mut requests.get,
                action if action.starts_with("Head") => &mut requests.head,
                action if action.starts_with("ListObjects") => &mut requests.list,
                action if action.starts_with("DeleteObject") => &mut requests.delete,
                _ => &mut requests.other,
            };
            *count += 1;
        }
        requests
    }

    /// Each kind with its name, in the report's order.
    pub fn kinds(&self) -> [(&'static str, u64); 8] {
        let Self { put, part, multipart, get, head, list, delete, other } = *self;
        [
            ("PUT", put),
            ("part", part),
            ("multipart", multipart),
            ("GET", get),
            ("HEAD", head),
            ("LIST", list),
            ("DELETE", delete),
            ("other", other),
        ]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.kinds().iter().map(|(_, count)| count).sum()
    }
}

fn action(line: &str) -> Option<&str> {
    line.split_whitespace().find_map(|word| word.strip_prefix("s3_"))
}

impl Sub for Requests {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            put: self.put.saturating_sub(earlier.put),
            part: self.part.saturating_sub(earlier.part),
            multipart: self.multipart.saturating_sub(earlier.multipart),
            get: self.get.saturating_sub(earlier.get),
            head: self.head.saturating_sub(earlier.head),
            list: self.list.saturating_sub(earlier.list),
            delete: self.delete.saturating_sub(earlier.delete),
            other: self.other.saturating_sub(earlier.other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind() {
        let line = |action: &str| {
            format!(
                "a backup [26/Nov/2026:18:15:16 +0000] 127.0.0.1 a 2D s3_{action} r/s3_x 200 -\n"
            )
        };
        let actions = [
            "PutObject",
            "UploadPart",
            "UploadPart",
            "CreateMultipartUpload",
            "CompleteMultipartUpload",
            "HeadBucket",
            "HeadObject",
            "ListObjectsV2",
            "DeleteObject",
            "GetBucketLocation",
            "GetObject",
        ];
        let log: String = actions.iter().map(|action| line(action)).collect();
        let requests = Requests::in_log(&format!("log starts 2026-11-26\n{log}"));
        let counts = requests.kinds().map(|(_, count)| count);
        assert_eq!(counts, [1, 2, 2, 1, 2, 1, 1, 1]);
        assert_eq!(requests.total(), 11);
        assert_eq!((requests - requests).total(), 0);
    }
}
