//! A fixed number of buffers that go round: the bound on what the data path holds in memory.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::AlignedBuffer;

/// A fixed set of equal [`AlignedBuffer`]s. [`take`](Self::take) waits until one is free.
#[derive(Clone, Debug)]
pub struct BufferPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Mutex<Vec<AlignedBuffer>>,
    returned: Condvar,
}

impl BufferPool {
    /// Allocates `count` buffers of `length_bytes` each (see [`AlignedBuffer::new`] for rounding).
    pub fn new(count: usize, length_bytes: usize) -> Self {
        let free = (0..count).map(|_| AlignedBuffer::new(length_bytes)).collect();
        Self(Arc::new(Shared { free: Mutex::new(free), returned: Condvar::new() }))
    }

    /// A free buffer, as its last user left it; waits while all are in use.
    pub fn take(&self) -> PooledBuffer {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(buffer) = free.pop() {
                return PooledBuffer { buffer: Some(buffer), home: Arc::clone(&self.0) };
            }
            free = self.0.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A buffer on loan from a [`BufferPool`]; dropping it gives it back.
#[derive(Debug)]
pub struct PooledBuffer {
    /// `None` only while dropping.
    buffer: Option<AlignedBuffer>,
    home: Arc<Shared>,
}

impl Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.as_deref().unwrap_or_default()
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        self.home.free.lock().unwrap_or_else(PoisonError::into_inner).extend(self.buffer.take());
        self.home.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn take_waits_until_a_buffer_comes_back() {
        let pool = BufferPool::new(1, 4096);
        let held = pool.take();
        let waiter = thread::spawn({
            let pool = pool.clone();
            move || pool.take().len()
        });
        thread::sleep(Duration::from_millis(20));
        assert!(!waiter.is_finished());
        drop(held);
        assert_eq!(waiter.join().unwrap(), 4096);
    }
}
