//! Cuts a stream of bytes into lines.

/// Bytes of a stream, from which whole lines are taken.
pub(super) struct Lines {
    most_bytes: usize,
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// How far there is surely no newline.
    searched: usize,
}

/// A line is longer than accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    /// Lines of at most `most_bytes` each.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// Adds bytes. All whole lines are to be taken before, so that at most one unfinished line and
    /// these bytes are in memory.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line without its newline; `None` where more bytes are needed.
    ///
    /// # Errors
    /// [`TooLong`], and from then on always.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let newline = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let end = newline.map_or(self.buffer.len(), |position| self.searched + position);
        if end - self.start > self.most_bytes {
            return Err(TooLong);
        }
        if newline.is_none() {
            self.searched = end;
            return Ok(None);
        }
        let line = self.start..end;
        self.start = end + 1;
        self.searched = self.start;
        Ok(Some(&self.buffer[line]))
    }

    /// Whether a line has begun that has not ended.
    pub(super) fn has_rest(&self) -> bool {
        self.start < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_they_are_cut_into_pieces() {
        let text = b"one\n\nthree\n4\nrest";
        for size in 1..=text.len() {
            let mut lines = Lines::new(5);
            let mut taken = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece);
                while let Some(line) = lines.next().unwrap() {
                    taken.push(line.to_vec());
                }
            }
            assert_eq!(taken, [&b"one"[..], b"", b"three", b"4"], "pieces of {size}");
            assert!(lines.has_rest());
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_before_it_has_ended() {
        let mut lines = Lines::new(3);
        lines.push(b"abc\nabc");
        assert_eq!(lines.next(), Ok(Some(&b"abc"[..])));
        assert_eq!(lines.next(), Ok(None));
        lines.push(b"d");
        assert_eq!(lines.next(), Err(TooLong));
        lines.push(b"\nab\n");
        assert_eq!(lines.next(), Err(TooLong));
    }
}
