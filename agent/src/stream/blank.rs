//! Whether a file or device holds anything.

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
            return Ok(true);
        }
        cancel.check()?;
        let done = answers.recv().map_err(|_| StreamError::Lost)?;
        in_flight -= 1;
        let Completion { offset, length, buffer, result, .. } = done;
        result.map_err(|source| StreamError::Read { offset, length, source })?;
        if !is_hole(&buffer[..length]) {
            return Ok(false);
        }
        progress.add_done_bytes(length as u64);
    }
}
