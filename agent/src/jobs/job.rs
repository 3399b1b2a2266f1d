//! A job as it is kept and shown.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Makes a backup: a DataUpload.
    Upload,
    /// Writes one back: a DataDownload.
    Download,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// How far a job is: the phases of Velero's DataUpload and DataDownload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// On record, waiting for its turn.
    New,
    /// Its turn has come.
    Accepted,
    /// What it reads from, or writes to, is there and held.
    Prepared,
    /// Data moves.
    InProgress,
    /// Somebody asked it to end; it is putting things back.
    Canceling,
    Canceled,
    Completed,
    Failed,
}

impl Phase {
    /// Whether nothing more will happen.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::Completed | Self::Failed)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Accepted => "Accepted",
            Self::Prepared => "Prepared",
            Self::InProgress => "InProgress",
            Self::Canceling => "Canceling",
            Self::Canceled => "Canceled",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
        }
    }
}

/// One job: the resource of `/v1/uploads` and `/v1/downloads`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The caller's.
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// As the caller gave it, fields this version does not know included.
    pub(crate) spec: Map<String, Value>,
    pub(crate) status: Status,
}

/// What became of a job so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    /// Why the tier is what it is; of a job that did not complete, the failure's code.
    pub(crate) reason: Option<String>,
    /// What the job does now, or what went wrong, for people.
    pub(crate) message: String,
    pub(crate) progress: Progress,
    pub(crate) tier: Option<String>,
    /// The backup's id.
    #[serde(rename = "snapshotID")]
    pub(crate) snapshot_id: Option<String>,
    /// Bytes that the repository had not known before.
    pub(crate) incremental_bytes: Option<u64>,
    pub(crate) created_timestamp: Timestamp,
    pub(crate) start_timestamp: Option<Timestamp>,
    pub(crate) completion_timestamp: Option<Timestamp>,
    /// This host's name.
    pub(crate) node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
    /// The report of a job that completed, as the command line prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
}

/// How many bytes a job has gone through, holes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    pub(crate) bytes_done: u64,
    /// 0 while it is unknown.
    pub(crate) total_bytes: u64,
}

impl Job {
    /// A job that waits for its turn.
    pub(crate) fn new(id: String, kind: Kind, spec: Map<String, Value>, node: &str) -> Self {
        let status = Status {
            phase: Phase::New,
            reason: None,
            message: "waiting for its turn".into(),
            progress: Progress::default(),
            tier: None,
            snapshot_id: None,
            incremental_bytes: None,
            created_timestamp: Timestamp::now(),
            start_timestamp: None,
            completion_timestamp: None,
            node: node.to_owned(),
            error: None,
            result: None,
        };
        Self { id, kind, spec, status }
    }

    /// The volume or path it is about, as the caller named it.
    pub(crate) fn subject(&self) -> &str {
        let key = match self.kind {
            Kind::Upload => "source",
            Kind::Download => "target",
        };
        self.spec.get(key).and_then(|it| it.get("volume")).and_then(Value::as_str).unwrap_or("")
    }

    /// Whether `spec` asks for the same. Whether to cancel is not part of what is asked for.
    pub(crate) fn asks_for(&self, spec: &Map<String, Value>) -> bool {
        let without_cancel = |spec: &Map<String, Value>| {
            let mut spec = spec.clone();
            spec.remove("cancel");
            spec
        };
        without_cancel(&self.spec) == without_cancel(spec)
    }
}

impl Status {
    /// Ends the job with a failure.
    pub(crate) fn fail(&mut self, phase: Phase, failure: Failure) {
        self.phase = phase;
        self.reason = Some(failure.code.as_str().to_owned());
        self.message = failure.message.clone();
        self.error = Some(failure);
        self.completion_timestamp = Some(Timestamp::now());
    }
}
