//! Threads that share the rows of a kernel. They wait a moment spinning, because kernels follow each other closely, and then asleep.

use std::ops::Range;

/// Rows are handed out in pieces so that a thread that was held up does not hold up the others.
const PIECES_PER_THREAD: usize = 4;

/// A fixed set of threads, this one included.
pub struct Pool {
    #[cfg(not(target_arch = "wasm32"))]
    crew: crew::Crew,
}

/// A slice to be written by tasks that may travel: each writes its own part.
pub(super) struct Shared<T>(*mut T);

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
    /// There is one, and what the pointer is used for stays inside the slice and apart from other tasks.
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
    /// `threads`: in all; `None`: one per core.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(threads: Option<usize>) -> Pool {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Pool { crew: crew::Crew::new(threads.unwrap_or_else(cores).clamp(1, 256)) }
    }

    /// A wasm module without shared memory has one thread.
    #[cfg(target_arch = "wasm32")]
    pub fn new(_threads: Option<usize>) -> Pool {
        Pool {}
    }

    /// Threads, this one included.
    pub fn threads(&self) -> usize {
        #[cfg(not(target_arch = "wasm32"))]
        return self.crew.threads();
        #[cfg(target_arch = "wasm32")]
        1
    }

    /// Runs `task(0)…task(count − 1)`, each once, on whichever thread is free, and returns when all have ended.
    ///
    /// # Panics
    /// When a task does.
    pub fn run(&self, count: usize, task: impl Fn(usize) + Sync) {
        #[cfg(not(target_arch = "wasm32"))]
        if count > 1 && self.threads() > 1 {
            return self.crew.run(count, &task);
        }
        (0..count).for_each(task);
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

#[cfg(not(target_arch = "wasm32"))]
mod crew {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Condvar, Mutex};
    use std::thread::JoinHandle;

    /// Rounds of waiting awake before going to sleep: some ten microseconds.
    const SPINS: usize = 2000;

    /// What is being run: the task and how many calls of it there are.
    #[derive(Clone, Copy)]
    struct Job {
        task: *const (dyn Fn(usize) + Sync),
        count: usize,
    }

    // SAFETY: the task is Sync, and `Crew::run` does not return before every thread that took it has let go of it.
    unsafe impl Send for Job {}

    /// What the lock guards.
    #[derive(Default)]
    struct Order {
        /// Jobs so far.
        number: u64,
        job: Option<Job>,
        /// Threads that sleep: to wake nobody is a system call, too.
        asleep: usize,
        end: bool,
    }

    struct State {
        order: Mutex<Order>,
        wake: Condvar,
        /// Number of the newest job; read while spinning.
        newest: AtomicUsize,
        /// Next call of the job to be taken.
        next: AtomicUsize,
        /// Threads that took the job and have not let go of it. A thread that comes too late finds no job and keeps nobody waiting:
        /// on a busy machine it may be milliseconds late.
        inside: AtomicUsize,
        failed: AtomicBool,
    }

    pub struct Crew {
        state: Arc<State>,
        threads: Vec<JoinHandle<()>>,
    }

    impl Crew {
        pub fn new(threads: usize) -> Crew {
            let state = Arc::new(State {
                order: Mutex::default(),
                wake: Condvar::new(),
                newest: AtomicUsize::new(0),
                next: AtomicUsize::new(0),
                inside: AtomicUsize::new(0),
                failed: AtomicBool::new(false),
            });
            let threads = (1..threads)
                .filter_map(|i| {
                    let state = state.clone();
                    std::thread::Builder::new().name(format!("fledgling-{i}")).spawn(move || work(&state)).ok()
                })
                .collect();
            Crew { state, threads }
        }

        pub fn threads(&self) -> usize {
            self.threads.len() + 1
        }

        pub fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
            let s = &*self.state;
            // SAFETY: only the lifetime changes; this call waits below until no thread uses the task any more.
            let task: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task as *const (dyn Fn(usize) + Sync + '_)) };
            s.next.store(0, Ordering::Relaxed);
            let asleep = {
                let mut order = s.order.lock().unwrap_or_else(|e| e.into_inner());
                order.number += 1;
                order.job = Some(Job { task, count });
                s.newest.store(order.number as usize, Ordering::Release);
                order.asleep
            };
            if asleep > 0 {
                s.wake.notify_all();
            }
            let mine = catch_unwind(AssertUnwindSafe(|| take(s, Job { task, count })));
            s.order.lock().unwrap_or_else(|e| e.into_inner()).job = None;
            let mut spins = 0;
            while s.inside.load(Ordering::Acquire) > 0 {
                // The others are in the middle of their last piece; on a machine with more threads than cores they may need this core.
                spins += 1;
                if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
            }
            let failed = s.failed.swap(false, Ordering::Relaxed);
            match mine {
                Err(panic) => resume_unwind(panic),
                Ok(()) => assert!(!failed, "a task of another thread panicked"),
            }
        }
    }

    impl Drop for Crew {
        fn drop(&mut self) {
            {
                let mut order = self.state.order.lock().unwrap_or_else(|e| e.into_inner());
                order.number += 1;
                order.end = true;
                self.state.newest.store(order.number as usize, Ordering::Release);
            }
            self.state.wake.notify_all();
            for t in self.threads.drain(..) {
                let _ = t.join();
            }
        }
    }

    fn take(s: &State, job: Job) {
        loop {
            let i = s.next.fetch_add(1, Ordering::Relaxed);
            if i >= job.count {
                return;
            }
            // SAFETY: `Crew::run` keeps the task alive until all threads have let go.
            unsafe { (*job.task)(i) };
        }
    }

    fn work(s: &State) {
        let mut seen = 0u64;
        loop {
            for _ in 0..SPINS {
                if s.newest.load(Ordering::Acquire) as u64 != seen {
                    break;
                }
                std::hint::spin_loop();
            }
            let job = {
                let mut order = s.order.lock().unwrap_or_else(|e| e.into_inner());
                while order.number == seen {
                    order.asleep += 1;
                    order = s.wake.wait(order).unwrap_or_else(|e| e.into_inner());
                    order.asleep -= 1;
                }
                seen = order.number;
                if order.end {
                    return;
                }
                let Some(task) = order.job else { continue };
                // Under the lock: whoever takes the job away sees that somebody is inside.
                s.inside.fetch_add(1, Ordering::Relaxed);
                task
            };
            if catch_unwind(AssertUnwindSafe(|| take(s, job))).is_err() {
                s.failed.store(true, Ordering::Relaxed);
                // What is left is not worth doing.
                s.next.store(usize::MAX / 2, Ordering::Relaxed);
            }
            s.inside.fetch_sub(1, Ordering::Release);
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
        let n = AtomicUsize::new(0);
        pool.run(10, |_| {
            n.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(n.load(Ordering::Relaxed), 10);
    }
}
