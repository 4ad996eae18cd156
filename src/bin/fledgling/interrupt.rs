//! Ctrl-C where something is to be ended in order: the first asks for it, the second ends the program at once.

use std::sync::atomic::{AtomicBool, Ordering};

/// 128 + SIGINT.
pub const STATUS: i32 = 130;

static WATCHED: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C is told by [`asked`]; `said` is what a person then reads. Where it cannot be watched, it ends the program as it always does.
pub fn watch(said: &'static str) {
    ASKED.store(false, Ordering::SeqCst);
    WATCHED.store(true, Ordering::SeqCst);
    let _ = ctrlc::try_set_handler(move || {
        if !WATCHED.load(Ordering::SeqCst) || ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(STATUS);
        }
        if !said.is_empty() {
            note!("\nfledgling: {said}");
        }
    });
}

/// Ctrl-C ends the program again.
pub fn unwatch() {
    WATCHED.store(false, Ordering::SeqCst);
}

/// Watches again, behind [`unwatch`].
pub fn again() {
    ASKED.store(false, Ordering::SeqCst);
    WATCHED.store(true, Ordering::SeqCst);
}

/// Has Ctrl-C been pressed?
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
