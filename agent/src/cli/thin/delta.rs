//! `thinmover thin delta`

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;
use thinmover_lvm::Bytes;
use thinmover_lvm::dm_thin::{Change, DeviceId, Extent, MetadataError, PoolTime};

use super::{Broken, Sink, answer, device_id, open, pool_time};
use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, size};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The pool's metadata device, or a file with a copy of it
    metadata: PathBuf,
    /// The device to compare with: what it has and the other has not counts as discarded
    #[arg(
        long, value_name = "ID", value_parser = device_id, requires = "to",
        required_unless_present = "device", conflicts_with = "device"
    )]
    from: Option<DeviceId>,
    /// The device that is compared
    #[arg(long, value_name = "ID", value_parser = device_id, requires = "from", conflicts_with = "device")]
    to: Option<DeviceId>,
    /// Instead, the one device of which is listed what was written since a pool time
    #[arg(long, value_name = "ID", value_parser = device_id, requires = "since_pool_time")]
    device: Option<DeviceId>,
    /// That time: a snapshot's creation time. Discards since then cannot be seen
    #[arg(long, value_name = "N", value_parser = pool_time, requires = "device")]
    since_pool_time: Option<PoolTime>,
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Question {
    Between { from: DeviceId, to: DeviceId },
    Since { device: DeviceId, time: PoolTime },
}

/// What an answer begins with.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    chunk_bytes: u64,
    /// The metadata block of the metadata snapshot that is read, if it is one.
    held_root: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_pool_time: Option<u32>,
    /// Whether ranges that were discarded are among the answers.
    discards_seen: bool,
}

/// A changed range, in bytes.
#[derive(Serialize)]
struct Range {
    offset: u64,
    length: u64,
    change: &'static str,
}

/// What an answer ends with.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    written_bytes: u64,
    /// Not known where discards are not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    discarded_bytes: Option<u64>,
    metadata_blocks_read: u64,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    // clap sees to it that one of the two is there and whole.
    let question = match (args.from, args.to, args.device, args.since_pool_time) {
        (_, _, Some(device), Some(time)) => Question::Since { device, time },
        (Some(from), Some(to), ..) => Question::Between { from, to },
        _ => return Ok(Done::Clean),
    };
    let mut metadata = open(&args.metadata, invocation)?;
    let everything = Bytes(0)..Bytes(u64::MAX);
    let head = Head {
        chunk_bytes: metadata.superblock().chunk.bytes().0,
        held_root: metadata.held_root().map(|block| block.0),
        ..question.head()
    };
    match question {
        Question::Between { from, to } => {
            let (from, to) = (metadata.device(from)?, metadata.device(to)?);
            answer(invocation.json, |sink| {
                let ranges = metadata.delta(&from, &to, everything)?;
                let totals = print(
                    sink,
                    &head,
                    ranges
                        .map(|next| next.map(|changed| Range::new(changed.extent, changed.change))),
                )?;
                metadata.check_unchanged()?;
                end(sink, Totals { metadata_blocks_read: metadata.blocks_read(), ..totals })
            })
        }
        Question::Since { device, time } => {
            let device = metadata.device(device)?;
            answer(invocation.json, |sink| {
                let ranges = metadata.changed_since(&device, time, everything)?;
                let totals = print(
                    sink,
                    &head,
                    ranges.map(|next| next.map(|extent| Range::new(extent, Change::Written))),
                )?;
                metadata.check_unchanged()?;
                end(sink, Totals { metadata_blocks_read: metadata.blocks_read(), ..totals })
            })
        }
    }
}

/// Prints the beginning and the ranges.
fn print(
    sink: &mut Sink,
    head: &Head,
    ranges: impl Iterator<Item = std::result::Result<Range, MetadataError>>,
) -> std::result::Result<Totals, Broken> {
    match sink {
        Sink::Json(json) => {
            json.object(head)?;
            json.list("ranges")?;
        }
        Sink::Text(out) => {
            writeln!(out, "{}", head.title())?;
            writeln!(out, "{:>20} {:>20}  CHANGE", "OFFSET", "LENGTH")?;
        }
    }
    let discarded_bytes = head.discards_seen.then_some(0);
    let mut totals = Totals { discarded_bytes, ..Totals::default() };
    for range in ranges {
        let range = range?;
        let Range { offset, length, change } = range;
        match change {
            WRITTEN => totals.written_bytes += length,
            _ => *totals.discarded_bytes.get_or_insert_default() += length,
        }
        match sink {
            Sink::Json(json) => json.item(&range)?,
            Sink::Text(out) => writeln!(out, "{offset:>20} {length:>20}  {change}")?,
        }
    }
    Ok(totals)
}

fn end(sink: &mut Sink, totals: Totals) -> std::result::Result<(), Broken> {
    match sink {
        Sink::Json(json) => {
            json.end()?;
            json.fields(&totals)?;
        }
        Sink::Text(out) => {
            write!(out, "Written {}", size(totals.written_bytes))?;
            if let Some(discarded) = totals.discarded_bytes {
                write!(out, ", discarded {}", size(discarded))?;
            }
            writeln!(out, "; {} metadata blocks read.", totals.metadata_blocks_read)?;
        }
    }
    Ok(())
}

const WRITTEN: &str = "written";

impl Range {
    fn new(extent: Extent, change: Change) -> Self {
        let change = match change {
            Change::Written => WRITTEN,
            Change::Discarded => "discarded",
        };
        Self { offset: extent.offset.0, length: extent.length.0, change }
    }
}

impl Question {
    /// What the answer says of the question.
    fn head(self) -> Head {
        match self {
            Self::Between { from, to } => Head {
                from: Some(from.get()),
                to: Some(to.get()),
                discards_seen: true,
                ..Head::default()
            },
            Self::Since { device, time } => Head {
                device: Some(device.get()),
                since_pool_time: Some(time.get()),
                ..Head::default()
            },
        }
    }
}

impl Head {
    fn title(&self) -> String {
        let chunks = size(self.chunk_bytes);
        match self {
            Self { device: Some(device), since_pool_time: Some(time), .. } => format!(
                "Device {device}, mapped at pool time {time} or later, in chunks of {chunks}.\n\
                 Discards since then cannot be seen this way."
            ),
            Self { from, to, .. } => format!(
                "From device {} to device {}, in chunks of {chunks}.",
                from.unwrap_or_default(),
                to.unwrap_or_default()
            ),
        }
    }
}
