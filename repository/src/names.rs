//! The keys that objects have in the store (FORMAT.md, section 2), built and taken apart here only.

use std::fmt;

use crate::crypto::random;
use crate::error::Result;
use crate::id::decode_hex;

pub(crate) const CONFIG: &str = "config";
pub(crate) const SLOTS: &str = "slot/";
/// What the key of a reader's mark is followed by in the key that says that it has ended.
pub(crate) const READER_END: &str = ".end";
/// What the name of a digest begins with; it stands among the outcomes of its volume.
const DIGEST: &str = "digest.";
pub(crate) const DOMAINS: &str = "domain/";

macro_rules! hex_name {
    ($(#[$meta:meta])* $vis:vis $name:ident, $bytes:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name(pub(crate) [u8; $bytes]);

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
    pub DomainId,
    16
);
hex_name!(
    /// A volume, as the store sees it: a keyed hash of its identity.
    pub VolumeId,
    16
);
hex_name!(
    /// An upload, and the backup it makes. Random.
    pub SessionId,
    16
);
hex_name!(
    /// A pack or an index object: its session's id, then 16 random bytes. Of a compacted index its
    /// collector's id and 16 random bytes.
    pub ContainerId,
    32
);
hex_name!(
    /// One run of collection. Random.
    pub(crate) CollectorId,
    16
);
hex_name!(
    /// One reading of a backup. Random.
    pub(crate) ReaderId,
    16
);

hex_name!(
    /// A digest. Random.
    pub(crate) DigestId,
    16
);

/// A digest of a volume's backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DigestLocation {
    pub(crate) domain: DomainId,
    pub(crate) volume: VolumeId,
    pub(crate) id: DigestId,
}

impl DigestLocation {
    pub(crate) fn random(domain: DomainId, volume: VolumeId) -> Result<Self> {
        Ok(Self { domain, volume, id: DigestId(random()?) })
    }

    pub(crate) fn key(&self) -> String {
        format!("{}{}/{DIGEST}{}", outcomes(self.domain), self.volume, self.id)
    }
}

impl SessionId {
    pub(crate) fn random() -> Result<Self> {
        random().map(Self)
    }
}

impl CollectorId {
    pub(crate) fn random() -> Result<Self> {
        random().map(Self)
    }
}

impl ReaderId {
    pub(crate) fn random() -> Result<Self> {
        random().map(Self)
    }
}

impl ContainerId {
    pub(crate) fn random(session: SessionId) -> Result<Self> {
        Self::below(session.0)
    }

    pub(crate) fn compacted(collector: CollectorId) -> Result<Self> {
        Self::below(collector.0)
    }

    fn below(maker: [u8; 16]) -> Result<Self> {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&maker);
        id[16..].copy_from_slice(&random::<16>()?);
        Ok(Self(id))
    }

    /// The session that made it.
    pub(crate) fn session(&self) -> SessionId {
        SessionId(self.maker())
    }

    /// Who made it, if it is a compacted index.
    pub(crate) fn collector(&self) -> CollectorId {
        CollectorId(self.maker())
    }

    fn maker(&self) -> [u8; 16] {
        self.0.first_chunk().copied().unwrap_or_default()
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
    /// An index run that collection made of others. It holds no blobs.
    Compacted,
}

impl Place {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Pack => 1,
            Self::Index => 2,
            Self::Compacted => 3,
        }
    }

    /// The place of something that holds blobs.
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
            Place::Pack => format!("{}{}", packs(domain), self.id),
            Place::Index => format!("{}{}", indexes(domain), self.id),
            Place::Compacted => format!("{}{}", compacted(domain), self.id),
        }
    }
}

/// A backup, or the session that is to make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// The mark that the backup is deleted.
    pub(crate) fn tomb(&self) -> String {
        self.retention(Retention::Tomb)
    }

    /// Why it is not to be deleted.
    pub(crate) fn hold(&self) -> String {
        self.retention(Retention::Hold)
    }

    fn retention(&self, says: Retention) -> String {
        let (volume, session, says) = (self.volume, self.session, says.suffix());
        format!("{}{volume}/{session}.{says}", retention(self.domain))
    }

    /// The mark of the upload that makes it.
    pub(crate) fn mark(&self) -> String {
        format!("{}{}/{}", sessions(self.domain), self.volume, self.session)
    }

    /// Says that a reader of it has ended, whose mark stays.
    pub(crate) fn reader_end(&self, reader: ReaderId) -> String {
        self.reader(reader) + READER_END
    }

    /// The mark of somebody who reads it.
    pub(crate) fn reader(&self, reader: ReaderId) -> String {
        format!("{}{}/{}.{reader}", readers(self.domain), self.volume, self.session)
    }
}

/// What a key below `retention/` says of its backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    /// It is deleted.
    Tomb,
    /// It is not to be deleted.
    Hold,
}

impl Retention {
    fn suffix(self) -> &'static str {
        match self {
            Self::Tomb => "tomb",
            Self::Hold => "hold",
        }
    }

    fn from_suffix(suffix: &str) -> Option<Self> {
        [Self::Tomb, Self::Hold].into_iter().find(|says| says.suffix() == suffix)
    }
}

/// One of the two generations that a collector makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GenerationName {
    pub(crate) collector: CollectorId,
    /// Whether it is the collector's second, which it makes once it has deleted.
    pub(crate) is_last: bool,
}

impl GenerationName {
    pub(crate) fn key(&self, domain: DomainId) -> String {
        format!("{}{self}", generations(domain))
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (collector, number) = name.split_once('/')?;
        let is_last = match number {
            "1" => false,
            "2" => true,
            _ => return None,
        };
        Some(Self { collector: collector.parse().ok()?, is_last })
    }
}

impl fmt::Display for GenerationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collector, if self.is_last { 2 } else { 1 })
    }
}

pub(crate) fn slot(id: &[u8; 16]) -> String {
    format!("{SLOTS}{}", hex::encode(id))
}

pub(crate) fn sessions(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/session/")
}

pub(crate) fn readers(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/reader/")
}

pub(crate) fn acks(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/ack/")
}

pub(crate) fn ack(domain: DomainId, session: SessionId) -> String {
    format!("{}{session}", acks(domain))
}

pub(crate) fn packs(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/pack/")
}

pub(crate) fn compacted(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/compacted/")
}

pub(crate) fn indexes(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/index/")
}

pub(crate) fn outcomes(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/outcome/")
}

/// What is said of backups beside them: that they are deleted, or are not to be.
pub(crate) fn retention(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/retention/")
}

pub(crate) fn generations(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/gen/")
}

/// Takes `<volume>/digest.<id>` off a key below `prefix`.
pub(crate) fn parse_digest(prefix: &str, key: &str) -> Option<(VolumeId, DigestId)> {
    let (volume, name) = key.strip_prefix(prefix)?.split_once('/')?;
    Some((volume.parse().ok()?, name.strip_prefix(DIGEST)?.parse().ok()?))
}

/// Takes `<volume>/<session>` off a key below `prefix`; `None` for a name of another shape.
pub(crate) fn parse_volume_session(prefix: &str, key: &str) -> Option<(VolumeId, SessionId)> {
    let (volume, session) = key.strip_prefix(prefix)?.split_once('/')?;
    Some((volume.parse().ok()?, session.parse().ok()?))
}

/// Takes `<volume>/<backup>` and what is said of it off a key below `prefix`.
pub(crate) fn parse_retention(prefix: &str, key: &str) -> Option<(VolumeId, SessionId, Retention)> {
    let (backup, says) = key.rsplit_once('.')?;
    let (volume, session) = parse_volume_session(prefix, backup)?;
    Some((volume, session, Retention::from_suffix(says)?))
}

/// Takes `<volume>/<backup>.<reader>` off a key below `prefix`.
pub(crate) fn parse_reader(prefix: &str, key: &str) -> Option<(VolumeId, SessionId, ReaderId)> {
    let (backup, reader) = key.rsplit_once('.')?;
    let (volume, session) = parse_volume_session(prefix, backup)?;
    Some((volume, session, reader.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_name_begins_with_its_session() {
        let session = SessionId::random().unwrap();
        let id = ContainerId::random(session).unwrap();
        assert!(id.to_string().starts_with(&session.to_string()));
        assert_eq!(id.session(), session);
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
        let reader = ReaderId([4; 16]);
        let key_of_reader = location.reader(reader);
        let parsed = parse_reader(&readers(location.domain), &key_of_reader);
        assert_eq!(parsed, Some((location.volume, location.session, reader)));
        let retention = retention(location.domain);
        for (key, says) in [(location.tomb(), Retention::Tomb), (location.hold(), Retention::Hold)]
        {
            let parsed = parse_retention(&retention, &key);
            assert_eq!(parsed, Some((location.volume, location.session, says)));
        }
        assert_eq!(parse_retention(&retention, &location.tomb().replace(".tomb", ".later")), None);
        let upper = key.to_uppercase();
        assert_eq!(parse_volume_session(&prefix, &upper), None);
        assert_eq!(parse_volume_session(&prefix, &format!("{key}0")), None);
    }

    #[test]
    fn a_generation_is_one_of_two_of_its_collector() {
        for is_last in [false, true] {
            let name = GenerationName { collector: CollectorId([5; 16]), is_last };
            assert_eq!(GenerationName::parse(&name.to_string()), Some(name));
        }
        for wrong in ["", "05", "00/1", &format!("{}/3", CollectorId([5; 16]))] {
            assert_eq!(GenerationName::parse(wrong), None, "{wrong}");
        }
    }
}
