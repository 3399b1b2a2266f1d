//! What is asked of a job, as `spec` of the custom resources says it, checked and turned into what
//! the engine takes. Both the command line and the API go through here.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::job::Kind;
use crate::engine::{CopyMethod, DownloadSpec, Latest, Parent, RestoreMode, UploadSpec, Which};
use crate::failure::{Code, Failure, Result};

/// `spec` of an upload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Upload {
    pub(crate) source: Volume,
    /// A configured name, or a URL; the configured default when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) copy_method: Option<CopyMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttl: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation_timeout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deletion_policy: Option<DeletionPolicy>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks: Vec<Value>,
    /// Size of an image block in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) block_bytes: Option<u64>,
}

/// `spec` of a download.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Download {
    /// A backup's id, enough of its beginning, or `latest`.
    #[serde(rename = "snapshotID")]
    pub(crate) snapshot_id: String,
    pub(crate) target: Volume,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restore_mode: Option<RestoreMode>,
    /// Whether a snapshot of the target is made before it is overwritten, which stays.
    #[serde(default)]
    pub(crate) undo: bool,
    /// The pool in which `target` is made first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) create_in_pool: Option<String>,
    /// With `latest`: of this volume instead of the target's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// With `latest`: made by this host (name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    /// With `latest`: made at or before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) as_of: Option<Timestamp>,
    /// With `latest`: so many backups before it.
    #[serde(default)]
    pub(crate) previous: usize,
    /// Whether what the target holds may be lost.
    #[serde(default)]
    pub(crate) overwrite: bool,
    /// Whether to stop before anything is written.
    #[serde(default)]
    pub(crate) dry_run: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation_timeout: Option<String>,
}

/// What becomes of an upload's backup when the upload is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeletionPolicy {
    #[default]
    Retain,
    Delete,
}

impl DeletionPolicy {
    /// What the spec of a job says. What is no policy is none: an older version may have let it pass.
    pub(crate) fn of(kind: Kind, spec: &Map<String, Value>) -> Self {
        match spec.get("deletionPolicy") {
            Some(policy) if kind == Kind::Upload => Self::deserialize(policy).unwrap_or_default(),
            _ => Self::default(),
        }
    }
}

/// What is read or written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// `VG/LV`, an LV name or UUID, or a path.
    pub(crate) volume: String,
}

/// A spec that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// A configured name, or a URL.
    pub(crate) repository: Option<String>,
    /// After which the job is canceled.
    pub(crate) operation_timeout: Option<Duration>,
    pub(crate) work: Work,
}

/// What the engine is asked to do.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Upload(UploadSpec),
    Download(DownloadSpec),
}

impl Plan {
    /// Checks what a caller asks for.
    ///
    /// # Errors
    /// `Usage` that names the field and what is allowed.
    pub(crate) fn new(kind: Kind, spec: &Map<String, Value>) -> Result<Self> {
        let spec = Value::Object(spec.clone());
        match kind {
            Kind::Upload => parse::<Upload>(spec)?.plan(),
            Kind::Download => parse::<Download>(spec)?.plan(),
        }
    }
}

impl Upload {
    pub(crate) fn plan(self) -> Result<Plan> {
        only("mode", self.mode.as_deref(), &["block"])?;
        let parent = match self.parent.as_deref() {
            None | Some("auto") => Parent::Auto,
            Some("none") => Parent::None,
            Some(id) => {
                not_empty("parent", id)?;
                Parent::Id(id.to_owned())
            }
        };
        if !self.hooks.is_empty() {
            return Err(invalid("hooks", "hooks are not supported yet, leave it empty"));
        }
        not_empty("source.volume", &self.source.volume)?;
        Ok(Plan {
            repository: self.repository,
            operation_timeout: timeout(self.operation_timeout.as_deref())?,
            work: Work::Upload(UploadSpec {
                source: self.source.volume,
                copy_method: self.copy_method,
                labels: self.labels,
                ttl: self.ttl.as_deref().map(|ttl| duration("ttl", ttl)).transpose()?,
                block_bytes: self.block_bytes,
                parent,
            }),
        })
    }
}

impl Download {
    pub(crate) fn plan(self) -> Result<Plan> {
        not_empty("target.volume", &self.target.volume)?;
        not_empty("snapshotID", &self.snapshot_id)?;
        let backup = match self.snapshot_id.as_str() {
            "latest" => Which::Latest(Latest {
                source: self.source,
                host: self.host,
                as_of: self.as_of,
                previous: self.previous,
            }),
            _ => Which::Id(self.snapshot_id),
        };
        Ok(Plan {
            repository: self.repository,
            operation_timeout: timeout(self.operation_timeout.as_deref())?,
            work: Work::Download(DownloadSpec {
                backup,
                target: self.target.volume,
                create_in_pool: self.create_in_pool,
                mode: self.restore_mode.unwrap_or_default(),
                undo: self.undo,
                overwrite: self.overwrite,
                dry_run: self.dry_run,
            }),
        })
    }
}

/// Reads a duration such as `720h`; nothing and less are refused.
///
/// # Errors
/// `Usage` that names `field`.
pub(crate) fn duration(field: &str, text: &str) -> Result<SignedDuration> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| invalid(field, &format!("`{text}` is not a duration such as 90m or 720h")))?;
    if duration.is_positive() {
        Ok(duration)
    } else {
        Err(invalid(field, &format!("`{text}` must be longer than nothing")))
    }
}

fn timeout(text: Option<&str>) -> Result<Option<Duration>> {
    text.map(|text| {
        let duration = duration("operationTimeout", text)?;
        Ok(duration.unsigned_abs())
    })
    .transpose()
}

fn parse<T: serde::de::DeserializeOwned>(spec: Value) -> Result<T> {
    serde_json::from_value(spec).map_err(|error| invalid("spec", &error.to_string()))
}

fn only(field: &str, value: Option<&str>, allowed: &[&str]) -> Result<()> {
    match value {
        Some(value) if !allowed.contains(&value) => {
            let allowed = allowed.join(" or ");
            Err(invalid(field, &format!("`{value}` is not supported; allowed is {allowed}")))
        }
        _ => Ok(()),
    }
}

fn not_empty(field: &str, value: &str) -> Result<()> {
    if value.is_empty() { Err(invalid(field, "it is empty")) } else { Ok(()) }
}

fn invalid(field: &str, why: &str) -> Failure {
    Failure::new(Code::Usage, format!("{field}: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(kind: Kind, spec: Value) -> Result<Plan> {
        match spec {
            Value::Object(spec) => Plan::new(kind, &spec),
            _ => panic!("no object"),
        }
    }

    #[test]
    fn a_spec_of_a_custom_resource_is_understood() {
        let plan = plan(
            Kind::Upload,
            json!({"source": {"volume": "vg0/a"}, "repository": "default", "mode": "block",
                "copyMethod": "snapshot", "parent": "auto", "labels": {"k": "v"}, "ttl": "720h",
                "operationTimeout": "4h", "hooks": [], "cancel": false, "somethingNew": 1}),
        )
        .unwrap();
        assert_eq!(plan.operation_timeout, Some(Duration::from_secs(4 * 3600)));
        let Work::Upload(upload) = plan.work else { panic!("no upload") };
        assert_eq!(upload.copy_method, Some(CopyMethod::Snapshot));
        assert_eq!(upload.ttl, Some(SignedDuration::from_hours(720)));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_its_field() {
        let source = json!({"volume": "vg0/a"});
        for (kind, spec, field) in [
            (Kind::Upload, json!({}), "source"),
            (Kind::Upload, json!({"source": {"volume": ""}}), "source.volume"),
            (Kind::Upload, json!({"source": source, "mode": "files"}), "mode"),
            (Kind::Upload, json!({"source": source, "copyMethod": "clone"}), "clone"),
            (Kind::Upload, json!({"source": source, "deletionPolicy": "delete"}), "Retain"),
            (Kind::Upload, json!({"source": source, "ttl": "soon"}), "ttl"),
            (Kind::Upload, json!({"source": source, "ttl": "-1h"}), "ttl"),
            (Kind::Upload, json!({"source": source, "hooks": [{"name": "x"}]}), "hooks"),
            (Kind::Download, json!({"target": {"volume": "vg0/a"}}), "snapshotID"),
            (
                Kind::Download,
                json!({"snapshotID": "x", "target": {"volume": "v"}, "restoreMode": "some"}),
                "some",
            ),
        ] {
            let failure = plan(kind, spec.clone()).unwrap_err();
            assert_eq!(failure.code, Code::Usage);
            assert!(failure.message.contains(field), "{spec}: {}", failure.message);
        }
    }
}
