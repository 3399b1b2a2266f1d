//! `thinmover thin …`: what dm-thin itself says of a pool, for people who look into pools. It is read
//! in this process, from a metadata device or a copy of one. Answers are printed while they are
//! found: a pool can have more mappings than fit into memory.

mod delta;
mod dump;
mod json_stream;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use thinmover_lvm::dm_thin::{self, DeviceId, FileBlocks, MetadataError, PoolTime, ThinMetadata};

use self::json_stream::JsonStream;
use super::invocation::Invocation;
use super::output::{self, Done};
use crate::engine::io_engine;
use crate::failure::{Code, Failure, Result};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Lists the devices of a pool and their mappings
    Dump(dump::Args),
    /// Lists what differs between two devices of a pool, or what was written since a pool time
    Delta(delta::Args),
}

pub(super) fn run(command: &Command, invocation: &Invocation) -> Result<Done> {
    match command {
        Command::Dump(args) => dump::run(args, invocation),
        Command::Delta(args) => delta::run(args, invocation),
    }
}

/// What ends an answer that has begun.
enum Broken {
    /// The metadata, or reading it.
    Metadata(MetadataError),
    /// Whoever should read the answer.
    Output(io::Error),
}

impl From<MetadataError> for Broken {
    fn from(error: MetadataError) -> Self {
        Self::Metadata(error)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Opens the metadata. People are told on standard error where it is not the pool's own superblock
/// that is read; documents have it as `heldRoot`.
fn open(path: &Path, invocation: &Invocation) -> Result<ThinMetadata<FileBlocks>> {
    let metadata = dm_thin::open(path, &io_engine(&invocation.settings)?)?;
    if let (Some(block), false) = (metadata.held_root(), invocation.json) {
        eprintln!(
            "thinmover: note: reading the metadata snapshot in block {block}: the pool as it was \
             when that was made"
        );
    }
    Ok(metadata)
}

/// Where an answer goes.
enum Sink {
    Json(JsonStream<Out>),
    Text(Out),
}

type Out = BufWriter<io::StdoutLock<'static>>;

/// Runs `print` on standard output. An answer that breaks has begun already, so the failure stands
/// at its end instead of in its place, and the answer is still one whole document.
fn answer(
    as_json: bool,
    print: impl FnOnce(&mut Sink) -> std::result::Result<(), Broken>,
) -> Result<Done> {
    let out = BufWriter::new(io::stdout().lock());
    let mut sink = if as_json { Sink::Json(JsonStream::new(out)) } else { Sink::Text(out) };
    let failure = match print(&mut sink) {
        Ok(()) => None,
        Err(Broken::Metadata(error)) => Some(Failure::from(error)),
        Err(Broken::Output(error)) => return not_written(&error),
    };
    let ended = match &mut sink {
        Sink::Json(json) => json.finish(failure.as_ref()),
        Sink::Text(out) => out.flush(),
    };
    if let Err(error) = ended {
        return not_written(&error);
    }
    let Some(failure) = failure else { return Ok(Done::Clean) };
    output::print_failure(&failure, false);
    Ok(Done::CutShort)
}

/// A reader that went away (`| head`) has seen enough; anything else is a failure.
fn not_written(error: &io::Error) -> Result<Done> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ok(Done::Clean);
    }
    Err(Failure::new(Code::Failed, format!("the answer could not be written: {error}")))
}

fn device_id(text: &str) -> std::result::Result<DeviceId, &'static str> {
    let id = text.parse().ok().and_then(DeviceId::new);
    id.ok_or("a device's number is from 0 to 16777215")
}

fn pool_time(text: &str) -> std::result::Result<PoolTime, &'static str> {
    let time = text.parse().ok().and_then(PoolTime::new);
    time.ok_or("a pool's time is from 0 to 16777215")
}
