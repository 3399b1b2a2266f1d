//! What a disk can do, through each I/O engine: written and read back as an upload does it.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use thinmover_io::{
    DirectFile, EngineKind, IoEngine, IoFile, WriteBehind, WriteFailed, create_unnamed,
};

use super::{Figure, per_second, sample};
use crate::failure::{Code, Failure, Result};
use crate::stream::{Cancel, Limits, StreamError, scan};

/// As a pack is written, in bytes.
const WRITE_BYTES: usize = 1 << 20;
const WRITES_IN_FLIGHT: usize = 4;

/// Writes a file of `bytes`, a multiple of 1 MiB, in `folder`, which has no name and is gone afterwards, and reads it, by
/// each engine the kernel allows. What it does not allow is said in the second result.
///
/// # Errors
/// `NotFound`, `NoSpace` and whatever else the folder's filesystem reports.
pub(crate) fn disk(
    folder: &Path,
    bytes: u64,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<(Vec<Figure>, Vec<String>)> {
    let (mut figures, mut notes) = (Vec::new(), Vec::new());
    for kind in [EngineKind::IoUring, EngineKind::Blocking] {
        let engine = match IoEngine::new(Some(kind)) {
            Ok(engine) => engine,
            Err(error) => {
                notes.push(error.to_string());
                continue;
            }
        };
        let file = create(folder)?;
        let read = file.try_clone().map_err(|error| failed(folder, &error))?;
        let figure = |what: &str, elapsed| Figure {
            benchmark: "io",
            name: format!("{what}, {kind}"),
            bytes_per_second: per_second(bytes, elapsed),
            ratio: None,
        };

        let file = open(&engine, file, folder)?;
        if kind == EngineKind::Blocking && !file.direct().is_direct() {
            notes.push(format!(
                "the filesystem of {} refuses O_DIRECT: the figures are those of the page cache",
                folder.display()
            ));
        }
        let started = Instant::now();
        write(&file, bytes, cancel)?;
        file.direct().sync().map_err(|error| failed(folder, &error))?;
        figures.push(figure("write", started.elapsed()));
        drop(file);

        let file = open(&engine, read, folder)?;
        let started = Instant::now();
        let _ = scan(&file, limits, cancel, |_| ControlFlow::Continue(()))?;
        figures.push(figure("read", started.elapsed()));
    }
    Ok((figures, notes))
}

fn create(folder: &Path) -> Result<File> {
    create_unnamed(folder).map_err(|error| failed(folder, &error))?.ok_or_else(|| {
        let message = format!("the filesystem of {} has no unnamed files", folder.display());
        Failure::new(Code::Unsuitable, message).hint("name a folder on a local disk by --folder")
    })
}

fn open(engine: &IoEngine, file: File, folder: &Path) -> Result<IoFile> {
    DirectFile::new(file).and_then(|file| engine.open(file)).map_err(|error| failed(folder, &error))
}

fn write(file: &IoFile, bytes: u64, cancel: &Cancel) -> Result<()> {
    let blocks = sample::random();
    let mut behind = WriteBehind::new(WRITES_IN_FLIGHT, 1, WRITE_BYTES);
    // Every buffer that circulates is filled once: making bytes is not what is measured.
    let mut unfilled = WRITES_IN_FLIGHT + 1;
    let mut buffer = behind.buffer();
    for offset in (0..bytes).step_by(WRITE_BYTES) {
        cancel.check().map_err(StreamError::from)?;
        if unfilled > 0 {
            unfilled -= 1;
            for (piece, block) in buffer.chunks_mut(sample::BLOCK_BYTES).zip(&blocks) {
                piece.copy_from_slice(block);
            }
        }
        behind.write(file, &mut buffer, WRITE_BYTES, offset).map_err(not_written)?;
    }
    behind.finish().map_err(not_written)
}

fn not_written(error: WriteFailed) -> Failure {
    StreamError::from(error).into()
}

fn failed(folder: &Path, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Code::NotFound,
        std::io::ErrorKind::StorageFull => Code::NoSpace,
        std::io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::Failed,
    };
    Failure::new(code, format!("cannot measure in {}: {error}", folder.display()))
}
