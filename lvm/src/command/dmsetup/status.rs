//! What the thin-pool target says of itself (kernel `Documentation/admin-guide/device-mapper/
//! thin-provisioning.rst`, "Status").

/// Its status line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DmThinPool {
    /// The target has failed all I/O.
    Failed,
    Running {
        used_metadata_blocks: u64,
        total_metadata_blocks: u64,
        used_data_blocks: u64,
        total_data_blocks: u64,
        /// The metadata block with the metadata snapshot's superblock, while there is one.
        held_root: Option<u64>,
        mode: DmPoolMode,
        needs_check: bool,
    },
}

/// In which mode a pool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DmPoolMode {
    ReadWrite,
    ReadOnly,
    OutOfDataSpace,
}

pub(super) fn parse_thin_pool(printed: &str) -> Option<DmThinPool> {
    let mut words = printed.split_whitespace();
    let (_start, _length) = (number(words.next()?)?, number(words.next()?)?);
    if words.next()? != "thin-pool" {
        return None;
    }
    let first = words.next()?;
    if first == "Fail" || first == "Error" {
        return Some(DmThinPool::Failed);
    }
    let _transaction_id = number(first)?;
    let (used_metadata_blocks, total_metadata_blocks) = fraction(words.next()?)?;
    let (used_data_blocks, total_data_blocks) = fraction(words.next()?)?;
    let held_root = match words.next()? {
        "-" => None,
        block => Some(number(block)?),
    };
    let mut mode = None;
    let mut needs_check = false;
    for word in words {
        match word {
            "rw" => mode = Some(DmPoolMode::ReadWrite),
            "ro" => mode = Some(DmPoolMode::ReadOnly),
            "out_of_data_space" => mode = Some(DmPoolMode::OutOfDataSpace),
            "needs_check" => needs_check = true,
            _ => {}
        }
    }
    Some(DmThinPool::Running {
        used_metadata_blocks,
        total_metadata_blocks,
        used_data_blocks,
        total_data_blocks,
        held_root,
        mode: mode?,
        needs_check,
    })
}

fn number(word: &str) -> Option<u64> {
    word.parse().ok()
}

fn fraction(word: &str) -> Option<(u64, u64)> {
    let (used, total) = word.split_once('/')?;
    Some((number(used)?, number(total)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DISTRIBUTIONS, fixture};
    use proptest::prelude::*;

    fn running(
        used: (u64, u64),
        held_root: Option<u64>,
        mode: DmPoolMode,
        needs_check: bool,
    ) -> DmThinPool {
        DmThinPool::Running {
            used_metadata_blocks: used.0,
            total_metadata_blocks: 1024,
            used_data_blocks: used.1,
            total_data_blocks: 8000,
            held_root,
            mode,
            needs_check,
        }
    }

    #[test]
    fn the_kernels_status_lines_are_read() {
        use DmPoolMode::{OutOfDataSpace, ReadOnly, ReadWrite};
        let table = [
            (
                "0 1024000 thin-pool 4 125/1024 1833/8000 - rw discard_passdown queue_if_no_space - 256 \n",
                Some(running((125, 1833), None, ReadWrite, false)),
            ),
            (
                "0 1024000 thin-pool 4 125/1024 1833/8000 77 rw discard_passdown error_if_no_space - 256",
                Some(running((125, 1833), Some(77), ReadWrite, false)),
            ),
            (
                "0 1024000 thin-pool 4 125/1024 8000/8000 - out_of_data_space discard_passdown queue_if_no_space - 256",
                Some(running((125, 8000), None, OutOfDataSpace, false)),
            ),
            (
                "0 1024000 thin-pool 4 1024/1024 10/8000 - ro no_discard_passdown queue_if_no_space needs_check 256",
                Some(running((1024, 10), None, ReadOnly, true)),
            ),
            ("0 1024000 thin-pool Fail", Some(DmThinPool::Failed)),
            ("0 1024000 thin-pool Error", Some(DmThinPool::Failed)),
            ("0 1024000 linear ", None),
            ("0 1024000 thin-pool 4 125/1024 1833/8000 - sideways", None),
            ("0 1024000 thin-pool 4 125/1024 1833/8000 held rw", None),
            ("0 1024000 thin-pool 4 125 1833/8000 - rw", None),
            ("", None),
        ];
        for (line, wanted) in table {
            assert_eq!(parse_thin_pool(line), wanted, "{line}");
        }
    }

    #[test]
    fn what_dmsetup_says_on_every_distribution_is_understood() {
        for distribution in DISTRIBUTIONS {
            // Captured of all devices at once, with what names each of them in front.
            let pools = fixture(&format!("{distribution}/dmsetup-status-thin-pool.txt"));
            assert!(pools.lines().count() > 0);
            for line in pools.lines() {
                let status = line.split_once(": ").unwrap().1;
                let pool = parse_thin_pool(status);
                assert!(matches!(pool, Some(DmThinPool::Running { .. })), "{line}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), tail in "[-0-9/a-z ]{0,40}") {
            let _ = parse_thin_pool(&text);
            let _ = parse_thin_pool(&format!("0 1 thin-pool {tail}"));
        }
    }
}
