//! Things that threads wait for: a stage's result, and a permit to work.

use std::sync::{Condvar, Mutex, PoisonError};

use lbuild_oci::lock;

/// A value that is set once and that others wait for.
#[derive(Debug)]
pub(crate) struct Latch<T> {
    value: Mutex<Option<T>>,
    is_set: Condvar,
}

impl<T: Clone> Latch<T> {
    /// A latch without a value.
    pub fn new() -> Self {
        Self { value: Mutex::new(None), is_set: Condvar::new() }
    }

    /// Sets the value; those who wait go on.
    pub fn set(&self, value: T) {
        *lock(&self.value) = Some(value);
        self.is_set.notify_all();
    }

    /// The value, as soon as it is set.
    pub fn wait(&self) -> T {
        let mut value = lock(&self.value);
        loop {
            match &*value {
                Some(value) => return value.clone(),
                None => value = self.is_set.wait(value).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A number of permits to work at the same time.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

/// A permit, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a>(&'a Permits);

impl Permits {
    /// `count` permits.
    pub fn new(count: usize) -> Self {
        Self { free: Mutex::new(count.max(1)), returned: Condvar::new() }
    }

    /// Waits for a permit.
    pub fn take(&self) -> Permit<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_latch_gives_its_value_to_all_who_wait() {
        let latch = Latch::new();
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| latch.wait())).collect();
            latch.set(7);
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap() == 7));
        });
    }

    #[test]
    fn no_more_than_the_permitted_number_work_at_once() {
        let (permits, working, most) = (Permits::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _permit = permits.take();
                    most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    working.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
    }
}
