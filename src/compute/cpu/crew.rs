//! Threads that take the tasks of a [`super::Pool`]. They wait a moment spinning, because kernels follow each other closely, and then asleep.
//!
//! Natively a crew starts its threads. In a browser only JavaScript can (`www/src/lib/threads.ts`): each of its workers enters the crew of the
//! module's memory by `work`. Where that memory is not shared, none does, and the crew is the thread that drives it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

/// Rounds of waiting awake before going to sleep: some ten microseconds. WebAssembly has no instruction that pauses, so its rounds are short.
const SPINS: usize = if cfg!(target_arch = "wasm32") { 50_000 } else { 2000 };

/// What is being run: the task and how many calls of it there are.
#[derive(Clone, Copy)]
struct Job {
    task: *const (dyn Fn(usize) + Sync),
    count: usize,
}

// SAFETY: the task is Sync, and `State::run` does not return before every thread that took it has let go of it.
unsafe impl Send for Job {}

/// What the lock guards.
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
    /// Number of the newest job (its low half in WebAssembly); read while spinning.
    newest: AtomicUsize,
    /// Next call of the job to be taken.
    next: AtomicUsize,
    /// Threads that took the job and have not let go of it. A thread that comes too late finds no job and keeps nobody waiting:
    /// on a busy machine it may be milliseconds late.
    inside: AtomicUsize,
    failed: AtomicBool,
    /// Threads beside the one that drives.
    helpers: AtomicUsize,
}

#[cfg(not(target_arch = "wasm32"))]
type Held = std::sync::Arc<State>;
/// A browser's workers are given the memory and nothing that lies in it: there is one crew, in a place they know.
#[cfg(target_arch = "wasm32")]
type Held = &'static State;

#[cfg(target_arch = "wasm32")]
static CREW: State = State::new();

thread_local! {
    /// This thread has taken a job and not let go of it.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

pub struct Crew {
    state: Held,
    #[cfg(not(target_arch = "wasm32"))]
    threads: Vec<std::thread::JoinHandle<()>>,
}

#[cfg(not(target_arch = "wasm32"))]
impl Crew {
    pub fn new(threads: Option<usize>) -> Crew {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let state = Held::new(State::new());
        let threads: Vec<_> = (1..threads.unwrap_or_else(cores).clamp(1, 256))
            .filter_map(|i| {
                let state = state.clone();
                std::thread::Builder::new().name(format!("fledgling-{i}")).spawn(move || state.work()).ok()
            })
            .collect();
        state.helpers.store(threads.len(), Ordering::Relaxed);
        Crew { state, threads }
    }
}

#[cfg(not(target_arch = "wasm32"))]
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

#[cfg(target_arch = "wasm32")]
impl Crew {
    pub fn new(_threads: Option<usize>) -> Crew {
        Crew { state: &CREW }
    }
}

/// Threads of this memory, the one that drives included.
#[cfg(target_arch = "wasm32")]
pub fn size() -> usize {
    1 + CREW.helpers.load(Ordering::Relaxed)
}

/// What a worker does from now on: it does not return.
#[cfg(target_arch = "wasm32")]
pub fn work() {
    CREW.helpers.fetch_add(1, Ordering::Relaxed);
    CREW.work();
}

/// Said by a worker whose [`work`] ended in a trap, so that nobody waits for it.
#[cfg(target_arch = "wasm32")]
pub fn fell() {
    CREW.helpers.fetch_sub(1, Ordering::Relaxed);
    if INSIDE.get() {
        CREW.leave(true);
    }
}

impl Crew {
    pub fn threads(&self) -> usize {
        1 + self.state.helpers.load(Ordering::Relaxed)
    }

    pub fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        self.state.run(count, task);
    }
}

/// Lets other threads have this core for a moment.
fn give_way() {
    #[cfg(not(target_arch = "wasm32"))]
    std::thread::yield_now();
    // Yielding does nothing there; sleeping waits on the memory, which is why a page's own thread must not drive a crew.
    #[cfg(target_arch = "wasm32")]
    std::thread::sleep(std::time::Duration::from_micros(20));
}

impl State {
    const fn new() -> State {
        State {
            order: Mutex::new(Order { number: 0, job: None, asleep: 0, end: false }),
            wake: Condvar::new(),
            newest: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            helpers: AtomicUsize::new(0),
        }
    }

    fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes; this call waits below until no thread uses the task any more.
        let task: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task as *const (dyn Fn(usize) + Sync + '_)) };
        let asleep = {
            let mut order = self.order.lock().unwrap_or_else(|e| e.into_inner());
            if order.job.is_some() || self.inside.load(Ordering::Acquire) > 0 {
                // A task that runs tasks, or, where a panic is a trap, a driver that goes on after one: others may still be at the old task.
                drop(order);
                panic!("a task is still being run");
            }
            self.next.store(0, Ordering::Relaxed);
            order.number += 1;
            order.job = Some(Job { task, count });
            self.newest.store(order.number as usize, Ordering::Release);
            order.asleep
        };
        if asleep > 0 {
            self.wake.notify_all();
        }
        let mine = catch_unwind(AssertUnwindSafe(|| self.take(Job { task, count })));
        self.order.lock().unwrap_or_else(|e| e.into_inner()).job = None;
        let mut spins = 0;
        while self.inside.load(Ordering::Acquire) > 0 {
            // The others are in the middle of their last piece; on a machine with more threads than cores they may need this core.
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { give_way() }
        }
        let failed = self.failed.swap(false, Ordering::Relaxed);
        match mine {
            Err(panic) => resume_unwind(panic),
            Ok(()) => assert!(!failed, "a task of another thread panicked"),
        }
    }

    fn take(&self, job: Job) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= job.count {
                return;
            }
            // SAFETY: `State::run` keeps the task alive until all threads have let go.
            unsafe { (*job.task)(i) };
        }
    }

    fn work(&self) {
        let mut seen = 0u64;
        loop {
            for _ in 0..SPINS {
                if self.newest.load(Ordering::Acquire) != seen as usize {
                    break;
                }
                std::hint::spin_loop();
            }
            let job = {
                let mut order = self.order.lock().unwrap_or_else(|e| e.into_inner());
                while order.number == seen {
                    order.asleep += 1;
                    order = self.wake.wait(order).unwrap_or_else(|e| e.into_inner());
                    order.asleep -= 1;
                }
                seen = order.number;
                if order.end {
                    return;
                }
                let Some(job) = order.job else { continue };
                // Under the lock: whoever takes the job away sees that somebody is inside.
                self.inside.fetch_add(1, Ordering::Relaxed);
                INSIDE.set(true);
                job
            };
            let failed = catch_unwind(AssertUnwindSafe(|| self.take(job))).is_err();
            self.leave(failed);
        }
    }

    /// Lets go of the job.
    fn leave(&self, failed: bool) {
        if failed {
            self.failed.store(true, Ordering::Relaxed);
            // What is left is not worth doing.
            self.next.store(usize::MAX / 2, Ordering::Relaxed);
        }
        INSIDE.set(false);
        self.inside.fetch_sub(1, Ordering::Release);
    }
}
