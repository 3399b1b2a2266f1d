//! What the kernel has been told a device is: the tables of the thin and the thin-pool target
//! (kernel `Documentation/admin-guide/device-mapper/thin-provisioning.rst`, "Constructor").

use crate::dm_thin::DeviceId;
use crate::mounts::DeviceNumber;
use crate::units::{Bytes, SECTOR_BYTES};

/// The feature that makes a pool hand out chunks with the bytes that they held before.
const SKIP_BLOCK_ZEROING: &str = "skip_block_zeroing";

/// The table of a thin volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DmThinTable {
    pub(crate) pool: DeviceNumber,
    pub(crate) id: DeviceId,
    /// Whether what it has not mapped is read from another device instead of as zeroes.
    pub(crate) has_external_origin: bool,
}

/// The table of a thin pool, as far as it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DmThinPoolTable {
    pub(crate) metadata: DeviceNumber,
    pub(crate) chunk: Bytes,
    /// Whether a chunk that is not written as a whole at first reads as zeroes in the rest.
    pub(crate) zeroes_new_chunks: bool,
}

pub(super) fn parse_thin(printed: &str) -> Option<DmThinTable> {
    let mut words = target(printed, "thin")?;
    Some(DmThinTable {
        pool: device(words.next()?)?,
        id: words.next()?.parse().ok().and_then(DeviceId::new)?,
        has_external_origin: words.next().is_some(),
    })
}

pub(super) fn parse_thin_pool(printed: &str) -> Option<DmThinPoolTable> {
    let mut words = target(printed, "thin-pool")?;
    let metadata = device(words.next()?)?;
    let (_data, sectors) = (words.next()?, words.next()?.parse::<u32>().ok()?);
    let chunk = Bytes(u64::from(sectors) * SECTOR_BYTES);
    let zeroes_new_chunks = !words.any(|word| word == SKIP_BLOCK_ZEROING);
    Some(DmThinPoolTable { metadata, chunk, zeroes_new_chunks })
}

/// The arguments of the one target that a table has, if that is of the `wanted` kind.
fn target<'a>(printed: &'a str, wanted: &str) -> Option<impl Iterator<Item = &'a str>> {
    let mut lines = printed.trim().lines();
    let (first, None) = (lines.next()?, lines.next()) else { return None };
    let mut words = first.split_whitespace();
    let (_start, _length) = (words.next()?, words.next()?);
    (words.next()? == wanted).then_some(words)
}

/// `MAJOR:MINOR`.
fn device(word: &str) -> Option<DeviceNumber> {
    let (major, minor) = word.split_once(':')?;
    Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DISTRIBUTIONS, fixture};
    use proptest::prelude::*;

    fn thin(minor: u64, id: u32, has_external_origin: bool) -> Option<DmThinTable> {
        let pool = DeviceNumber { major: 253, minor };
        Some(DmThinTable { pool, id: DeviceId::new(id).unwrap(), has_external_origin })
    }

    #[test]
    fn tables_are_read() {
        assert_eq!(parse_thin("0 2097152 thin 253:3 1\n"), thin(3, 1, false));
        assert_eq!(parse_thin("0 131072 thin 253:3 6 253:8"), thin(3, 6, true));
        let pool = "0 1048576 thin-pool 253:1 253:2 128 0 1 skip_block_zeroing \n";
        let read = |zeroes_new_chunks| {
            let metadata = DeviceNumber { major: 253, minor: 1 };
            Some(DmThinPoolTable { metadata, chunk: Bytes(65536), zeroes_new_chunks })
        };
        assert_eq!(parse_thin_pool(pool), read(false));
        for zeroing in ["0", "2 ignore_discard no_discard_passdown"] {
            let pool = format!("0 1048576 thin-pool 253:1 253:2 128 0 {zeroing}");
            assert_eq!(parse_thin_pool(&pool), read(true), "{zeroing}");
        }
        for text in [
            "",
            "0 1",
            "0 1 linear 253:3 1",
            "0 1 thin 253 1",
            "0 1 thin 253:3",
            "0 1 thin 253:3 16777216",
            "0 1 thin 253:3 1\n1 1 thin 253:3 2",
            pool,
        ] {
            assert_eq!(parse_thin(text), None, "{text}");
        }
        assert_eq!(parse_thin_pool("0 1048576 thin-pool here 253:2 128"), None);
    }

    #[test]
    fn the_tables_of_every_distribution_are_understood() {
        for distribution in DISTRIBUTIONS {
            let tables = fixture(&format!("{distribution}/dmsetup-table-thin.txt"));
            for line in tables.lines() {
                // Captured of all devices at once, with what names each of them in front.
                let (name, table) = line.split_once(": ").unwrap();
                let table = parse_thin(table).unwrap();
                assert_eq!(table.has_external_origin, name == "vg0-external", "{line}");
            }
            assert!(tables.lines().count() > 2);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>(), tail in "[-0-9: ]{0,40}") {
            let _ = (parse_thin(&text), parse_thin_pool(&text));
            let _ = parse_thin(&format!("0 1 thin {tail}"));
            let _ = parse_thin_pool(&format!("0 1 thin-pool {tail}"));
        }
    }
}
