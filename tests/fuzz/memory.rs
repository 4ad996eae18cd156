//! An allocator that counts what this thread holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

/// See the module.
pub struct Counting;

fn count(bytes: usize) {
    HELD.with(|held| {
        held.set(held.get().wrapping_add(bytes));
        MOST.with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: the system's allocator does the work; the counters are plain cells of the thread, which allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // What was taken on another thread may be given back here.
        HELD.with(|held| held.set(held.get().saturating_sub(layout.size())));
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.with(|held| held.set(held.get().saturating_sub(layout.size())));
        count(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

/// A stretch that is measured.
pub struct Stretch(usize);

pub fn start() -> Stretch {
    let held = HELD.with(Cell::get);
    MOST.with(|most| most.set(held));
    Stretch(held)
}

impl Stretch {
    /// The most that was held at once since [`start`], beyond what was held then.
    pub fn end(self) -> usize {
        MOST.with(Cell::get).saturating_sub(self.0)
    }
}
