//! Reading a file or device through, for what its bytes are and not for keeping them.

use std::ops::ControlFlow;

use crossbeam_channel::unbounded;
use thinmover_io::{BufferPool, Completion, IoFile, Request};

use super::{Cancel, Limits, Progress, StreamError, is_hole};

/// Whether all of `file` reads as zeroes; ends soon after the first byte that does not.
///
/// # Errors
/// `Read`, and `Canceled`.
pub(crate) fn is_blank(
    file: &IoFile,
    limits: &Limits,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<bool, StreamError> {
    progress.set_total_bytes(file.size_bytes());
    let scanned = scan(file, limits, cancel, |bytes| {
        if !is_hole(bytes) {
            return ControlFlow::Break(());
        }
        progress.add_done_bytes(bytes.len() as u64);
        ControlFlow::Continue(())
    });
    Ok(scanned?.is_continue())
}

/// Shows every byte of `file` to `visit` once, in pieces and in no order, until that breaks. As many
/// reads are in flight as an upload has.
///
/// # Errors
/// `Read`, and `Canceled`.
pub(crate) fn scan(
    file: &IoFile,
    limits: &Limits,
    cancel: &Cancel,
    mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StreamError> {
    let pool = BufferPool::new(limits.buffers, limits.buffer_bytes);
    let (answer, answers) = unbounded();
    let mut offsets = (0..file.size_bytes()).step_by(limits.buffer_bytes);
    let mut in_flight = 0;
    loop {
        while in_flight < limits.buffers
            && let Some(offset) = offsets.next()
        {
            let length = usize::try_from(file.size_bytes() - offset)
                .map_or(limits.buffer_bytes, |left| left.min(limits.buffer_bytes));
            file.read(Request { tag: 0, offset, length, buffer: pool.take() }, &answer);
            in_flight += 1;
        }
        if in_flight == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        cancel.check()?;
        let done = answers.recv().map_err(|_| StreamError::Lost)?;
        in_flight -= 1;
        let Completion { offset, length, result, .. } = done;
        let buffer = result.map_err(|source| StreamError::Read { offset, length, source })?;
        if visit(&buffer[..length]).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}
