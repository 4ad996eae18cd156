//! What a template may cost. Chat templates come with a stranger's file: work, memory, nesting and the stack are counted, so that a hostile one
//! ends in an error before it holds the page or ends the wasm instance.
use std::cell::Cell;

use super::fault::{Fault, Res};

/// Units of work: about one per node of the syntax tree, and one per [`UNIT`] bytes that are read or written.
const WORK: u64 = 6_000_000;
/// Bytes that cost as much as one node.
const UNIT: usize = 64;
/// No text that a template makes may be longer.
pub(super) const MAX_TEXT: usize = 16 << 20;
/// Bytes of all values and outputs that are held at once, those of the messages aside.
const MAX_LIVE: usize = 64 << 20;
/// Values inside each other.
pub(super) const MAX_NESTING: u32 = 160;
/// Calls of the interpreter inside each other, and the bytes of stack that they may take: wasm has 1 MiB.
const MAX_DEPTH: u32 = 600;
const MAX_STACK: usize = 400 << 10;

struct Meter {
    work: Cell<u64>,
    live: Cell<usize>,
    limit: Cell<usize>,
    depth: Cell<u32>,
    stack: Cell<usize>,
}

thread_local! {
    static METER: Meter = const {
        Meter { work: Cell::new(0), live: Cell::new(0), limit: Cell::new(0), depth: Cell::new(0), stack: Cell::new(0) }
    };
}

/// About where the stack is.
#[inline(never)]
fn here() -> usize {
    let local = 0u8;
    std::hint::black_box(&raw const local) as usize
}

/// Begins to count anew. What is held already (the messages) is free.
pub(super) fn start() {
    METER.with(|m| {
        m.work.set(WORK);
        m.limit.set(m.live.get().saturating_add(MAX_LIVE));
        m.depth.set(0);
        m.stack.set(here());
    });
}

/// Charges for work that is about to be done.
#[inline(never)]
pub(super) fn work(units: usize) -> Res<()> {
    METER.with(|m| match m.work.get().checked_sub(units as u64) {
        Some(left) => {
            m.work.set(left);
            Ok(())
        }
        None => {
            m.work.set(0);
            Err(Fault::new("it does not come to an end: it does too much work"))
        }
    })
}

/// Charges for reading or writing bytes.
#[inline(never)]
pub(super) fn bytes(n: usize) -> Res<()> {
    work(n / UNIT + 1)
}

/// Charges for a text of `n` bytes that is about to be made.
#[inline(never)]
pub(super) fn room(n: usize) -> Res<()> {
    if n > MAX_TEXT {
        return Err(Fault::new(format!("a text of more than {} MiB", MAX_TEXT >> 20)));
    }
    bytes(n)?;
    space(n)
}

/// Is there memory for `n` more bytes?
#[inline(never)]
pub(super) fn space(n: usize) -> Res<()> {
    METER.with(|m| match m.live.get().checked_add(n) {
        Some(all) if all <= m.limit.get() => Ok(()),
        _ => Err(Fault::new(format!("its values take more than {} MiB", MAX_LIVE >> 20))),
    })
}

/// Counts bytes that are held from now on.
#[inline(never)]
pub(super) fn hold(n: usize) {
    METER.with(|m| m.live.set(m.live.get().saturating_add(n)));
}

/// Counts bytes that are held no longer. Values may outlive the thread's own variables.
#[inline(never)]
pub(super) fn release(n: usize) {
    let _ = METER.try_with(|m| m.live.set(m.live.get().saturating_sub(n)));
}

/// One call inside another, until it is dropped.
pub(super) struct Level(());

impl Drop for Level {
    fn drop(&mut self) {
        METER.with(|m| m.depth.set(m.depth.get() - 1));
    }
}

/// Goes one level deeper.
#[inline(never)]
pub(super) fn deeper() -> Res<Level> {
    METER.with(|m| {
        if m.depth.get() >= MAX_DEPTH || here().abs_diff(m.stack.get()) > MAX_STACK {
            return Err(Fault::new("it is nested too deeply"));
        }
        m.depth.set(m.depth.get() + 1);
        Ok(Level(()))
    })
}
