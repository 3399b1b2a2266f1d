//! Which backup is meant: pure functions over the repository's list.

use jiff::Timestamp;
use thinmover_repository::{Domain, Filter, Manifest, VolumeKey};

use super::upload::identity;
use crate::failure::{Code, Failure, Result};
use crate::host::Host;

/// `restore latest` and its options.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest {
    pub(crate) source: Option<String>,
    /// This host when not given: thousands of hosts share an alias.
    pub(crate) host: Option<String>,
    /// The last one made at or before this time.
    pub(crate) as_of: Option<Timestamp>,
    /// How many backups before that one.
    pub(crate) previous: usize,
}

/// Which backups come into question for a target known by `target` (its UUID, else its path).
pub(super) fn filter(latest: &Latest, target: &str, this: &Host) -> Filter {
    let host = this.id.to_string();
    let is_this = latest.host.as_ref().is_none_or(|named| *named == host);
    let is_own = is_this && latest.source.is_none();
    Filter {
        // Other hosts' are not even listed.
        domain: is_this.then(|| Domain(host.clone())),
        volume: is_own.then(|| VolumeKey(format!("{host}/{target}"))),
        source: Some(latest.source.clone().unwrap_or_else(|| target.to_owned())),
        host: Some(latest.host.clone().unwrap_or(host)),
    }
}

/// Picks the backup that is meant from `backups`, which are those that match [`filter`].
///
/// # Errors
/// `NotFound`, and `Ambiguous` when they are of several volumes.
pub(super) fn latest<'a>(backups: &'a [Manifest], latest: &Latest) -> Result<&'a Manifest> {
    let mut wanted: Vec<_> = backups
        .iter()
        .filter(|manifest| latest.as_of.is_none_or(|as_of| manifest.created_at <= as_of))
        .collect();
    wanted.sort_by_key(|manifest| (manifest.created_at, manifest.id.clone()));
    if let [first, rest @ ..] = wanted.as_slice()
        && let Some(other) = rest.iter().find(|other| volume(other) != volume(first))
    {
        let message =
            format!("this means several volumes: {} and {}", describe(first), describe(other));
        return Err(Failure::new(Code::Ambiguous, message)
            .hint("name one by --source UUID and --host ID, or give a backup's id"));
    }
    let index = wanted.len().checked_sub(1 + latest.previous);
    index.and_then(|index| wanted.get(index).copied()).ok_or_else(|| {
        let message = match wanted.len() {
            0 => "there is no such backup".to_owned(),
            count => format!("there are only {count} such backups"),
        };
        let hint = "`thinmover backup list` shows all; --source and --host name volume and host";
        Failure::new(Code::NotFound, message).hint(hint)
    })
}

/// What makes a volume the same one: where it has a UUID its name does not matter.
fn volume(manifest: &Manifest) -> (&str, &str) {
    (&manifest.source.host, identity(&manifest.source))
}

fn describe(manifest: &Manifest) -> String {
    let source = &manifest.source;
    let uuid = source.uuid.as_deref().unwrap_or("no UUID");
    format!("{} ({uuid}) of host {} ({})", source.name, source.hostname, source.host)
}
