//! Memory that a kernel needs for a moment: one growing buffer per thread and use, so that a steady step allocates nothing.

use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` with `n` values of scratch memory, whatever they hold. May be nested.
pub fn with<R>(n: usize, body: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut mem = FREE.with(|f| f.borrow_mut().pop()).unwrap_or_default();
    if mem.len() < n {
        mem.resize(n, 0.0);
    }
    let out = body(&mut mem[..n]);
    FREE.with(|f| f.borrow_mut().push(mem));
    out
}
