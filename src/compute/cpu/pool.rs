//! Threads that share the rows of a kernel: what is split how. Who does it is in [`super::crew`].

use std::ops::Range;

use super::crew::Crew;

/// Rows are handed out in pieces so that a thread that was held up does not hold up the others.
const PIECES_PER_THREAD: usize = 4;

/// A fixed set of threads, this one included.
pub struct Pool {
    /// `None`: this thread alone.
    crew: Option<Crew>,
}

/// A slice to be written by tasks that may travel: each writes its own part.
pub struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<T> {}

// SAFETY: tasks of one call touch disjoint parts only, which whoever reaches behind the pointer sees to.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(to: &mut [T]) -> Shared<T> {
        Shared(to.as_mut_ptr())
    }

    /// A pointer to element `i`.
    ///
    /// # Safety
    /// There is one, and what the pointer is used for stays inside the slice and touches no other task's part.
    pub unsafe fn at(self, i: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(i) }
    }

    /// Elements `range` of what it points to.
    ///
    /// # Safety
    /// The range is inside, and no other slice of it is alive.
    unsafe fn part<'a>(self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

impl Pool {
    /// `threads`: in all; `None`: one per core. In a browser only one of them can be asked for: otherwise there are as many as JavaScript started.
    pub fn new(threads: Option<usize>) -> Pool {
        Pool { crew: if threads == Some(1) { None } else { Some(Crew::new(threads)) } }
    }

    /// Threads, this one included.
    pub fn threads(&self) -> usize {
        self.crew.as_ref().map_or(1, Crew::threads)
    }

    /// Runs `task(0)…task(count − 1)`, each once, on whichever thread is free, and returns when all have ended.
    ///
    /// # Panics
    /// When a task does; a task may not run tasks of the same pool.
    pub fn run(&self, count: usize, task: impl Fn(usize) + Sync) {
        match &self.crew {
            Some(crew) if count > 1 && crew.threads() > 1 => crew.run(count, &task),
            _ => (0..count).for_each(task),
        }
    }

    /// Splits `0..n` into pieces of at least `least` and runs `task` on each.
    pub fn ranges(&self, n: usize, least: usize, task: impl Fn(Range<usize>) + Sync) {
        let pieces = self.pieces(n, least);
        self.run(pieces, |i| task(n * i / pieces..n * (i + 1) / pieces));
    }

    /// Splits the rows (`cols` long) of `out` and runs `task(first row, rows)` on each piece of at least `least` rows.
    ///
    /// # Panics
    /// When `out` is not whole rows.
    pub fn rows<T: Send>(&self, out: &mut [T], cols: usize, least: usize, task: impl Fn(usize, &mut [T]) + Sync) {
        let cols = cols.max(1);
        assert!(out.len().is_multiple_of(cols), "{} values are not rows of {cols}", out.len());
        let shared = Shared::new(out);
        self.ranges(out.len() / cols, least, |r| {
            // SAFETY: the pieces of `ranges` do not overlap and lie inside.
            task(r.start, unsafe { shared.part(r.start * cols..r.end * cols) });
        });
    }

    /// As [`Pool::rows`] over two outputs with the same number of rows.
    ///
    /// # Panics
    /// When they are not.
    pub fn rows2<T: Send, U: Send>(
        &self,
        (a, a_cols): (&mut [T], usize),
        (b, b_cols): (&mut [U], usize),
        least: usize,
        task: impl Fn(usize, &mut [T], &mut [U]) + Sync,
    ) {
        let (a_cols, b_cols) = (a_cols.max(1), b_cols.max(1));
        let n = a.len() / a_cols;
        assert!(a.len() == n * a_cols && b.len() == n * b_cols, "{} and {} values are not {n} rows each", a.len(), b.len());
        let (a, b) = (Shared::new(a), Shared::new(b));
        self.ranges(n, least, |r| {
            // SAFETY: as in `rows`.
            unsafe { task(r.start, a.part(r.start * a_cols..r.end * a_cols), b.part(r.start * b_cols..r.end * b_cols)) };
        });
    }

    /// As [`Pool::rows`] over any number of equally long outputs, element by element.
    ///
    /// # Panics
    /// When they are not equally long.
    pub fn all<const N: usize>(&self, outs: [&mut [f32]; N], least: usize, task: impl Fn(usize, [&mut [f32]; N]) + Sync) {
        let n = outs.first().map_or(0, |o| o.len());
        let outs = outs.map(|o| {
            assert_eq!(o.len(), n, "outputs of one length");
            Shared(o.as_mut_ptr())
        });
        self.ranges(n, least, |r| {
            // SAFETY: as in `rows`.
            task(r.start, outs.map(|o| unsafe { o.part(r.clone()) }));
        });
    }

    fn pieces(&self, n: usize, least: usize) -> usize {
        let most = n / least.max(1);
        match self.threads() {
            1 => usize::from(n > 0),
            t => most.clamp(usize::from(n > 0), t * PIECES_PER_THREAD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(Some(threads));
            for count in [0, 1, 2, 7, 100] {
                let hits: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                pool.run(count, |i| {
                    hits[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(hits.iter().all(|h| h.load(Ordering::Relaxed) == 1), "{threads} threads, {count} tasks");
            }
        }
    }

    #[test]
    fn rows_are_split_without_gaps() {
        let pool = Pool::new(Some(3));
        for rows in [0, 1, 5, 64, 1757] {
            let mut out = vec![0u32; rows * 3];
            pool.rows(&mut out, 3, 2, |first, part| {
                for (i, v) in part.iter_mut().enumerate() {
                    *v += (first * 3 + i) as u32 + 1;
                }
            });
            assert!(out.iter().enumerate().all(|(i, v)| *v == i as u32 + 1), "{rows} rows");
        }
    }

    #[test]
    fn a_panic_of_a_task_arrives_and_leaves_the_pool_usable() {
        let pool = Pool::new(Some(2));
        let fails = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.run(16, |i| assert!(i != 5, "five"))));
        assert!(fails.is_err());
        let nested = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.run(4, |_| pool.run(4, |_| {}))));
        assert!(nested.is_err());
        let n = AtomicUsize::new(0);
        pool.run(10, |_| {
            n.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(n.load(Ordering::Relaxed), 10);
    }
}
