//! Snapshots by the ids of callers: which LVM snapshot an id stands for, kept durably so that the
//! same request again, also after a crash, is answered with the same snapshot.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thinmover_io::crash_point;
use thinmover_lvm::{OwnedSnapshot, Owner};
use uuid::Uuid;

use crate::durable::{self, SNAPSHOTS};
use crate::engine::{Engine, Scope};
use crate::failure::{Code, Failure, Result};
use crate::views::{Snapshot, Snapshots};

/// The version this build writes; it reads no newer one.
const VERSION: u32 = 1;

/// `STATE_DIR/snapshots/ID.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claim {
    version: u32,
    pub(crate) id: String,
    /// As the caller gave it.
    pub(crate) spec: Map<String, Value>,
    /// The LV's name, chosen before it is made: nothing in the group had it then.
    name: String,
    /// The UUID of the LV it is to be a snapshot of.
    origin: String,
    /// The LV's UUID, once it is known.
    pub(crate) handle: Option<String>,
}

/// A snapshot that was asked for.
pub(crate) struct Made {
    pub(crate) claim: Claim,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) is_new: bool,
    pub(crate) warnings: Vec<String>,
}

/// `spec` of a snapshot.
#[derive(Deserialize)]
struct Spec {
    source: crate::jobs::spec::Volume,
    /// The LV's name; one is made up if it is left out.
    name: Option<String>,
}

/// The folder of claims.
pub(crate) struct Claims {
    folder: PathBuf,
    /// One at a time: LVM does not do more either.
    lock: Mutex<()>,
}

impl Claims {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join(SNAPSHOTS), lock: Mutex::new(()) }
    }

    /// Makes the snapshot that `id` stands for, unless it is there already.
    ///
    /// # Errors
    /// `Exists` when the id stands for another spec, and what the engine reports.
    pub(crate) fn create(
        &self,
        engine: &Engine,
        id: &str,
        spec: Map<String, Value>,
        scope: &Scope,
    ) -> Result<Made> {
        let asked: Spec = serde_json::from_value(Value::Object(spec.clone()))
            .map_err(|error| Failure::new(Code::Usage, format!("spec: {error}")))?;
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.read(id)?;
        let is_new = known.is_none();
        let mut claim = match known {
            Some(claim) if claim.spec == spec => claim,
            Some(_) => {
                return Err(Failure::new(
                    Code::Exists,
                    format!("snapshot {id} was asked for with another spec"),
                )
                .hint("choose another id"));
            }
            None => {
                let unnamed = || format!("thinmover-{:.8}", Uuid::new_v4().simple());
                let name = asked.name.unwrap_or_else(unnamed);
                let origin = engine.check_new_snapshot(&asked.source.volume, &name, scope)?;
                let id = id.to_owned();
                let claim = Claim { version: VERSION, id, spec, name, origin, handle: None };
                self.write(&claim)?;
                crash_point("snapshot:claimed");
                claim
            }
        };
        if !is_new {
            let snapshot = self.find(&claim, engine)?;
            let was_there = claim.handle.is_some();
            if let Some(snapshot) = &snapshot
                && !was_there
            {
                // A crash had kept us from noting it.
                claim.handle = Some(snapshot.uuid.clone());
                self.write(&claim)?;
            }
            // One that was there and that somebody removed is not made twice.
            if was_there || snapshot.is_some() {
                return Ok(Made { claim, snapshot, is_new, warnings: Vec::new() });
            }
        }
        let made = engine.create_snapshot(&claim.origin, Some(&claim.name), scope);
        let (snapshot, warnings) = match made {
            Ok(made) => made,
            Err(failure) => {
                self.remove(id)?;
                return Err(failure);
            }
        };
        crash_point("snapshot:made");
        let snapshot = Snapshot::new(&snapshot);
        claim.handle = Some(snapshot.uuid.clone());
        self.write(&claim)?;
        Ok(Made { claim, snapshot: Some(snapshot), is_new, warnings })
    }

    /// What `id` stands for, and the snapshot if it is there.
    ///
    /// # Errors
    /// `NotFound` when nobody asked for it.
    pub(crate) fn get(&self, engine: &Engine, id: &str) -> Result<(Claim, Option<Snapshot>)> {
        let claim = self.read(id)?.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("there is no snapshot {id}"))
                .hint("`thinmover snapshot list` shows what there is")
        })?;
        let snapshot = self.find(&claim, engine)?;
        Ok((claim, snapshot))
    }

    /// Deletes the snapshot that `id` stands for, or one of thinmover's by its name or UUID.
    /// Returns warnings.
    ///
    /// # Errors
    /// `NotFound`, `NotAllowed` outside of `scope`, `Busy` while it is mounted or read.
    pub(crate) fn delete(&self, engine: &Engine, id: &str, scope: &Scope) -> Result<Vec<String>> {
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let claim = self.read(id)?;
        let snapshot = match &claim {
            Some(claim) => match self.find(claim, engine)? {
                Some(snapshot) => snapshot,
                None => {
                    self.remove(id)?;
                    return Ok(Vec::new());
                }
            },
            None => by_name(engine, id)?,
        };
        let group = snapshot.name.split('/').next().unwrap_or_default();
        scope.check_group(group)?;
        let ((), warnings) = engine.delete_snapshot(&snapshot.uuid)?;
        crash_point("snapshot:deleted");
        let named =
            self.all()?.into_iter().filter(|claim| claim.handle == Some(snapshot.uuid.clone()));
        for claim in named.chain(claim) {
            self.remove(&claim.id)?;
        }
        Ok(warnings)
    }

    /// The snapshot that a claim stands for, if it is there.
    fn find(&self, claim: &Claim, engine: &Engine) -> Result<Option<Snapshot>> {
        let snapshots = engine.snapshots()?;
        let Some(found) = snapshots.iter().find(|snapshot| claim.stands_for(snapshot)) else {
            return Ok(None);
        };
        let is_others = |other: Claim| {
            other.id != claim.id && other.handle.as_deref() == Some(found.uuid.as_str())
        };
        let is_free = claim.handle.is_some() || !self.all()?.into_iter().any(is_others);
        Ok(is_free.then(|| Snapshot::new(found)))
    }

    fn all(&self) -> Result<Vec<Claim>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failure(&error)),
        };
        let mut claims = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| self.failure(&error))?.file_name();
            // One that cannot be read stands for nothing here.
            if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")) {
                claims.extend(self.read(id).ok().flatten());
            }
        }
        Ok(claims)
    }

    fn read(&self, id: &str) -> Result<Option<Claim>> {
        if id.contains('/') {
            return Ok(None);
        }
        let path = self.path(id);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failure(&error)),
        };
        let unreadable =
            |why: String| Failure::new(Code::Damaged, format!("{}: {why}", path.display()));
        let claim: Claim =
            serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if claim.version > VERSION {
            let why = format!("a newer thinmover wrote it (version {})", claim.version);
            return Err(Failure::new(Code::NewerFormat, format!("{}: {why}", path.display())));
        }
        Ok(Some(claim))
    }

    fn write(&self, claim: &Claim) -> Result<()> {
        let text =
            serde_json::to_vec(claim).map_err(|error| Failure::from_error(Code::Failed, &error))?;
        durable::replace(&self.path(&claim.id), &text).map_err(|error| self.failure(&error))
    }

    fn remove(&self, id: &str) -> Result<()> {
        durable::remove(&self.path(id)).map_err(|error| self.failure(&error))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    fn failure(&self, error: &std::io::Error) -> Failure {
        Failure::new(Code::Failed, format!("{}: {error}", self.folder.display()))
    }
}

impl Claim {
    /// Whether it stands for this snapshot, which no other claim names: by its UUID, or where a
    /// crash kept us from noting that, by all that was chosen before.
    fn stands_for(&self, snapshot: &OwnedSnapshot) -> bool {
        match &self.handle {
            Some(handle) => handle == snapshot.uuid.as_str(),
            None => {
                snapshot.owner == Owner::Operator
                    && snapshot.name.as_str() == self.name
                    && snapshot.origin_uuid.as_str() == self.origin
            }
        }
    }
}

/// One of thinmover's snapshots by `VG/LV`, LV name or UUID.
fn by_name(engine: &Engine, spec: &str) -> Result<Snapshot> {
    let not_found = || {
        Failure::new(Code::NotFound, format!("{spec} is no snapshot that thinmover has made"))
            .hint("`thinmover snapshot list` shows what there is")
    };
    let matches = |snapshot: &Snapshot| {
        snapshot.uuid == spec
            || snapshot.name == spec
            || snapshot.name.split('/').next_back() == Some(spec)
    };
    let mut found = Snapshots::read(engine)?.snapshots.into_iter().filter(matches);
    let snapshot = found.next().ok_or_else(not_found)?;
    match found.next() {
        None => Ok(snapshot),
        Some(other) => Err(Failure::new(
            Code::Ambiguous,
            format!("{spec} may be {} or {}", snapshot.name, other.name),
        )
        .hint("name it as VG/LV or by its UUID")),
    }
}
