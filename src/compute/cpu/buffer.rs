//! Memory of the processor whose bytes are counted while it lives.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::rc::Rc;

use super::Cpu;
use crate::counters::Counters;

/// Cache lines and the widest vectors.
pub const ALIGN: usize = 64;

/// Zeroed memory, or a range of it. Cloning shares it; it is given back with the last clone.
///
/// Several values point into one buffer and programs write through shared handles, as on a GPU: a buffer hands out slices by
/// `unsafe` calls, and the executor that makes them keeps to one rule, that what one operation writes nobody else looks at meanwhile.
#[derive(Clone)]
pub struct Buf {
    inner: Rc<Owned>,
    offset: usize,
    bytes: usize,
}

struct Owned {
    start: NonNull<u8>,
    layout: Layout,
    counters: Rc<Counters>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.counters.freed(self.layout.size() as u64);
        // SAFETY: allocated in `Cpu::buffer` with this very layout, and freed once.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

impl Buf {
    /// Bytes of the range.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// True when both are ranges of one buffer.
    pub fn same_buffer(&self, other: &Buf) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }

    /// A part of this range; `offset` is a multiple of 64 bytes.
    ///
    /// # Panics
    /// When it does not lie inside: a bug of the caller.
    pub fn range(&self, offset: u64, bytes: u64) -> Buf {
        let (offset, bytes) = (offset as usize, bytes as usize);
        assert!(offset.is_multiple_of(ALIGN) && offset + bytes <= self.bytes, "range {offset}+{bytes} of {}", self.bytes);
        Buf { inner: self.inner.clone(), offset: self.offset + offset, bytes }
    }

    /// First byte of the range.
    pub fn start(&self) -> *mut u8 {
        // SAFETY: the range lies inside the allocation.
        unsafe { self.inner.start.as_ptr().add(self.offset) }
    }

    /// The first `len` values.
    ///
    /// # Safety
    /// Nobody writes to them as long as the slice lives.
    ///
    /// # Panics
    /// When the range is shorter.
    pub unsafe fn slice<T: bytemuck::Pod>(&self, len: usize) -> &[T] {
        assert!(len * size_of::<T>() <= self.bytes, "{len} values of {} bytes in {}", size_of::<T>(), self.bytes);
        // SAFETY: inside the allocation, aligned to 64 bytes, initialized (zeroed at first); the caller sees to aliasing.
        unsafe { std::slice::from_raw_parts(self.start().cast(), len) }
    }

    /// The first `len` values, to be written.
    ///
    /// # Safety
    /// Nobody else reads or writes them as long as the slice lives.
    ///
    /// # Panics
    /// When the range is shorter.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn slice_mut<T: bytemuck::Pod>(&self, len: usize) -> &mut [T] {
        assert!(len * size_of::<T>() <= self.bytes, "{len} values of {} bytes in {}", size_of::<T>(), self.bytes);
        // SAFETY: as in `slice`.
        unsafe { std::slice::from_raw_parts_mut(self.start().cast(), len) }
    }

    /// Copies bytes in at `offset`.
    ///
    /// # Panics
    /// When they do not fit.
    pub fn write(&self, offset: u64, data: &[u8]) {
        // SAFETY: the executor runs nothing while the host writes.
        let all = unsafe { self.slice_mut::<u8>(self.bytes) };
        all[offset as usize..offset as usize + data.len()].copy_from_slice(data);
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn read(&self, offset: u64, bytes: u64) -> Vec<u8> {
        // SAFETY: as in `write`.
        let all = unsafe { self.slice::<u8>(self.bytes) };
        all[offset as usize..(offset + bytes) as usize].to_vec()
    }

    /// Copies bytes from another buffer, or from elsewhere in this one.
    ///
    /// # Panics
    /// When either range is too short.
    pub fn copy_from(&self, at: u64, from: &Buf, from_at: u64, bytes: u64) {
        assert!(at + bytes <= self.bytes() && from_at + bytes <= from.bytes(), "copy of {bytes} bytes");
        // SAFETY: both ranges lie inside their allocations; `copy` allows them to overlap.
        unsafe { std::ptr::copy(from.start().add(from_at as usize), self.start().add(at as usize), bytes as usize) };
    }
}

/// What asked for how much, in words.
#[derive(Debug)]
pub struct OutOfMemory(pub String);

impl Cpu {
    /// Allocates zeroed memory (a multiple of 64 bytes, at least 64).
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn buffer(&self, label: &str, bytes: u64) -> Result<Buf, OutOfMemory> {
        let fail = || OutOfMemory(format!("{label} needs {bytes} bytes of memory"));
        let size = usize::try_from(bytes).map_err(|_| fail())?.max(ALIGN).checked_next_multiple_of(ALIGN).ok_or_else(fail)?;
        let layout = Layout::from_size_align(size, ALIGN).map_err(|_| fail())?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(fail)?;
        self.counters().allocated(size as u64);
        Ok(Buf { inner: Rc::new(Owned { start, layout, counters: self.counters().clone() }), offset: 0, bytes: size })
    }
}
