//! `thinmover thin dump`

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;
use thinmover_lvm::dm_thin::{Device, DeviceId, FileBlocks, MappingRun, ThinMetadata};

use super::{Broken, Sink, answer, device_id, open};
use crate::cli::invocation::Invocation;
use crate::cli::output::{Done, size};
use crate::failure::Result;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The pool's metadata device, or a file with a copy of it
    metadata: PathBuf,
    /// Only this device
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device: Option<DeviceId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolView {
    time: u32,
    transaction_id: u64,
    chunk_bytes: u64,
    /// Not known of a metadata snapshot.
    data_chunks: Option<u64>,
    /// The metadata block of the metadata snapshot that is read, if it is one.
    held_root: Option<u64>,
    needs_check: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceView {
    id: u32,
    mapped_chunks: u64,
    transaction_id: u64,
    creation_time: u32,
    snapshotted_time: u32,
}

/// Neighbouring chunks mapped to neighbouring chunks at the same time.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunView {
    thin: u64,
    data: u64,
    chunks: u64,
    time: u32,
}

pub(super) fn run(args: &Args, invocation: &Invocation) -> Result<Done> {
    let mut metadata = open(&args.metadata, invocation)?;
    let chosen = args.device.map(|id| metadata.device(id)).transpose()?;
    answer(invocation.json, |sink| {
        begin(sink, &PoolView::of(&metadata))?;
        match chosen {
            Some(device) => print_device(sink, &mut metadata, &device)?,
            None => print_all(sink, &mut metadata)?,
        }
        metadata.check_unchanged()?;
        Ok(())
    })
}

fn begin(sink: &mut Sink, pool: &PoolView) -> std::result::Result<(), Broken> {
    match sink {
        Sink::Json(json) => {
            json.object(pool)?;
            json.list("devices")?;
        }
        Sink::Text(out) => writeln!(out, "{}", pool.title())?,
    }
    Ok(())
}

fn print_all(
    sink: &mut Sink,
    metadata: &mut ThinMetadata<FileBlocks>,
) -> std::result::Result<(), Broken> {
    let mut after = None;
    loop {
        let devices = metadata.devices_after(after)?;
        let Some(last) = devices.last() else { return Ok(()) };
        after = Some(last.id);
        for device in &devices {
            print_device(sink, metadata, device)?;
        }
    }
}

fn print_device(
    sink: &mut Sink,
    metadata: &mut ThinMetadata<FileBlocks>,
    device: &Device,
) -> std::result::Result<(), Broken> {
    let chunk_bytes = metadata.superblock().chunk.bytes().0;
    let view = DeviceView::of(device);
    match sink {
        Sink::Json(json) => {
            json.object(&view)?;
            json.list("mappings")?;
        }
        Sink::Text(out) => {
            writeln!(out, "\n{}", view.title(chunk_bytes))?;
            writeln!(out, "{:>16} {:>16} {:>16} {:>9}", "THIN", "DATA", "CHUNKS", "TIME")?;
        }
    }
    for run in metadata.mapping_runs(device)? {
        let run = RunView::of(run?);
        match sink {
            Sink::Json(json) => json.item(&run)?,
            Sink::Text(out) => {
                let RunView { thin, data, chunks, time } = run;
                writeln!(out, "{thin:>16} {data:>16} {chunks:>16} {time:>9}")?;
            }
        }
    }
    if let Sink::Json(json) = sink {
        json.end()?;
        json.end()?;
    }
    Ok(())
}

impl PoolView {
    fn of(metadata: &ThinMetadata<FileBlocks>) -> Self {
        let superblock = metadata.superblock();
        Self {
            time: superblock.time.get(),
            transaction_id: superblock.transaction_id,
            chunk_bytes: superblock.chunk.bytes().0,
            data_chunks: superblock.data_blocks,
            held_root: metadata.held_root().map(|block| block.0),
            needs_check: superblock.needs_check,
        }
    }

    fn title(&self) -> String {
        let mut title = format!(
            "Pool at time {}, transaction {}, in chunks of {}",
            self.time,
            self.transaction_id,
            size(self.chunk_bytes)
        );
        if let Some(chunks) = self.data_chunks {
            title += &format!(", {chunks} of them");
        }
        if let Some(block) = self.held_root {
            title += &format!("; read from its metadata snapshot in block {block}");
        }
        if self.needs_check {
            title += "; it needs to be checked";
        }
        title
    }
}

impl DeviceView {
    fn of(device: &Device) -> Self {
        Self {
            id: device.id.get(),
            mapped_chunks: device.mapped_chunks,
            transaction_id: device.transaction_id,
            creation_time: device.creation_time.get(),
            snapshotted_time: device.snapshotted_time.get(),
        }
    }

    fn title(&self, chunk_bytes: u64) -> String {
        format!(
            "Device {}: {} chunks ({}) mapped, made at time {} in transaction {}, snapshotted at time {}",
            self.id,
            self.mapped_chunks,
            size(self.mapped_chunks.saturating_mul(chunk_bytes)),
            self.creation_time,
            self.transaction_id,
            self.snapshotted_time
        )
    }
}

impl RunView {
    fn of(run: MappingRun) -> Self {
        let MappingRun { first, chunks } = run;
        Self { thin: first.thin.0, data: first.data.0, chunks, time: first.time.get() }
    }
}
