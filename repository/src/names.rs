//! The keys that objects have in the store (FORMAT.md, section 2), built and taken apart here only.

use std::fmt;

use crate::crypto::random;
use crate::error::Result;
use crate::id::decode_hex;

pub(crate) const CONFIG: &str = "config";
pub(crate) const SLOTS: &str = "slot/";
pub(crate) const DOMAINS: &str = "domain/";

macro_rules! hex_name {
    ($(#[$meta:meta])* $name:ident, $bytes:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
                decode_hex(text).map(Self)
            }
        }
    };
}

hex_name!(
    /// What deduplicates together, as the store sees it: a keyed hash of the domain's name.
    DomainId,
    16
);
hex_name!(
    /// A volume, as the store sees it: a keyed hash of its identity.
    VolumeId,
    16
);
hex_name!(
    /// An upload, and the backup it makes. Random.
    SessionId,
    16
);
hex_name!(
    /// A pack or an index object: its session's id, then 16 random bytes.
    ContainerId,
    32
);

impl SessionId {
    pub(crate) fn random() -> Result<Self> {
        random().map(Self)
    }
}

impl ContainerId {
    pub(crate) fn random(session: SessionId) -> Result<Self> {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&session.0);
        id[16..].copy_from_slice(&random::<16>()?);
        Ok(Self(id))
    }
}

/// The name of what deduplicates together; by default a host's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(pub String);

/// What makes a volume the same one from backup to backup: host id and LV UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeKey(pub String);

/// Where a container's object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Pack,
    Index,
}

impl Place {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Pack => 1,
            Self::Index => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Pack),
            2 => Some(Self::Index),
            _ => None,
        }
    }
}

/// A container and where it stands: enough to find and open it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ContainerRef {
    pub(crate) place: Place,
    pub(crate) id: ContainerId,
}

impl ContainerRef {
    pub(crate) fn key(&self, domain: DomainId) -> String {
        match self.place {
            Place::Pack => format!("{DOMAINS}{domain}/pack/{}", self.id),
            Place::Index => format!("{}{}", indexes(domain), self.id),
        }
    }
}

/// The place of one backup's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackupLocation {
    /// What it deduplicates with.
    pub domain: DomainId,
    /// What it is of.
    pub volume: VolumeId,
    /// The upload that made it: the backup's id.
    pub session: SessionId,
}

impl BackupLocation {
    pub(crate) fn outcome(&self) -> String {
        format!("{}{}/{}", outcomes(self.domain), self.volume, self.session)
    }

    pub(crate) fn tomb(&self) -> String {
        format!("{}{}/{}", tombs(self.domain), self.volume, self.session)
    }
}

pub(crate) fn slot(id: &[u8; 16]) -> String {
    format!("{SLOTS}{}", hex::encode(id))
}

pub(crate) fn session(domain: DomainId, session: SessionId) -> String {
    format!("{DOMAINS}{domain}/session/{session}")
}

pub(crate) fn ack(domain: DomainId, session: SessionId) -> String {
    format!("{DOMAINS}{domain}/ack/{session}")
}

pub(crate) fn indexes(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/index/")
}

pub(crate) fn outcomes(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/outcome/")
}

pub(crate) fn tombs(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/tomb/")
}

pub(crate) fn generations(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/gen/")
}

/// Takes `<volume>/<session>` off a key below `prefix`; `None` for a name of another shape.
pub(crate) fn parse_volume_session(prefix: &str, key: &str) -> Option<(VolumeId, SessionId)> {
    let (volume, session) = key.strip_prefix(prefix)?.split_once('/')?;
    Some((volume.parse().ok()?, session.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_name_begins_with_its_session() {
        let session = SessionId::random().unwrap();
        let id = ContainerId::random(session).unwrap();
        assert!(id.to_string().starts_with(&session.to_string()));
        assert_ne!(id, ContainerId::random(session).unwrap());
    }

    #[test]
    fn an_outcome_key_is_taken_apart_into_what_it_was_made_of() {
        let [domain, volume, session] = [1, 2, 3].map(|byte| [byte; 16]);
        let location = BackupLocation {
            domain: DomainId(domain),
            volume: VolumeId(volume),
            session: SessionId(session),
        };
        let prefix = outcomes(location.domain);
        let key = location.outcome();
        let parsed = parse_volume_session(&prefix, &key);
        assert_eq!(parsed, Some((location.volume, location.session)));
        let upper = key.to_uppercase();
        assert_eq!(parse_volume_session(&prefix, &upper), None);
        assert_eq!(parse_volume_session(&prefix, &format!("{key}0")), None);
    }
}
