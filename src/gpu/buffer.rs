//! Storage buffers whose bytes are counted while they live.

use std::rc::Rc;

use super::{Gpu, Mark};
use crate::counters::Counters;
use crate::{Error, Result};

/// A GPU buffer, or a range of one. Cloning shares it; the memory is given back with the last clone.
#[derive(Clone)]
pub struct Buf {
    inner: Rc<Owned>,
    /// First byte of the range.
    offset: u64,
    /// Bytes of the range.
    bytes: u64,
}

struct Owned {
    raw: wgpu::Buffer,
    counters: Rc<Counters>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.counters.freed(self.raw.size());
        self.raw.destroy();
    }
}

impl Buf {
    /// Bytes of the range.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// First byte inside the whole buffer.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The wgpu buffer, whole.
    pub(crate) fn raw(&self) -> &wgpu::Buffer {
        &self.inner.raw
    }

    /// True when both are ranges of one buffer.
    pub fn same_buffer(&self, other: &Buf) -> bool {
        Rc::ptr_eq(&self.inner, &other.inner)
    }

    /// A part of this range: `offset` must be a multiple of 256 bytes (the binding alignment).
    pub fn range(&self, offset: u64, bytes: u64) -> Buf {
        assert!(offset.is_multiple_of(256) && offset + bytes <= self.bytes, "range {offset}+{bytes} of {}", self.bytes);
        Buf { inner: self.inner.clone(), offset: self.offset + offset, bytes }
    }

    /// As a binding of a bind group.
    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.inner.raw,
            offset: self.offset,
            size: std::num::NonZeroU64::new(self.bytes),
        })
    }
}

impl Gpu {
    /// Allocates a zeroed storage buffer (rounded up to 16 bytes, at least 16, so that `vec4` views are whole).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when it is larger than the device allows in one buffer or in one binding.
    pub fn storage(&self, label: &str, bytes: u64) -> Result<Buf> {
        let limit = self.caps().max_buffer.min(self.caps().max_binding);
        if bytes > limit {
            return Err(Error::OutOfMemory(format!("{label} needs one buffer of {bytes} bytes, this device allows {limit}")));
        }
        Ok(self.allocate(label, bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST))
    }

    /// Allocates a uniform buffer.
    pub fn uniform(&self, label: &str, bytes: u64) -> Buf {
        self.allocate(label, bytes, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST)
    }

    /// Allocates a buffer that can be mapped for reading.
    pub fn staging(&self, bytes: u64) -> Buf {
        self.allocate("staging", bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)
    }

    fn allocate(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Buf {
        let bytes = bytes.max(16).next_multiple_of(16);
        let raw =
            self.device().create_buffer(&wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false });
        self.counters().allocated(bytes);
        Buf { inner: Rc::new(Owned { raw, counters: self.counters().clone() }), offset: 0, bytes }
    }

    /// Writes bytes at `offset` of the range (both multiples of 4).
    pub fn write(&self, buf: &Buf, offset: u64, data: &[u8]) {
        debug_assert!(offset + data.len() as u64 <= buf.bytes());
        self.queue().write_buffer(buf.raw(), buf.offset() + offset, data);
    }

    /// Copies ranges on the device: (from, first byte, to, first byte, bytes), in order. Within one entry the buffers must differ.
    pub fn copy(&self, ranges: &[(Buf, u64, Buf, u64, u64)]) {
        let mut encoder = self.device().create_command_encoder(&Default::default());
        for (from, from_at, to, to_at, bytes) in ranges {
            if *bytes > 0 {
                encoder.copy_buffer_to_buffer(from.raw(), from.offset() + from_at, to.raw(), to.offset() + to_at, *bytes);
            }
        }
        self.submit(encoder);
    }

    /// Sends pending writes to the device. A loader calls it every few MiB: until a submit, written bytes wait in host memory.
    pub fn flush(&self) {
        self.submit(self.device().create_command_encoder(&Default::default()));
        self.wait();
    }

    /// Reads `bytes` bytes from `offset` of the range: waits for everything submitted before.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], or whatever the device reported since the last check.
    pub async fn read(&self, buf: &Buf, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let staging = self.staging(bytes);
        let mut encoder = self.device().create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buf.raw(), buf.offset() + offset, staging.raw(), 0, bytes.next_multiple_of(4));
        self.submit(encoder);
        self.map(&staging, bytes, &Mark::default()).await
    }

    /// Maps a staging buffer, copies its first `bytes` bytes out and unmaps it.
    pub async fn map(&self, staging: &Buf, bytes: u64, after: &Mark) -> Result<Vec<u8>> {
        let (send, receive) = futures_channel::oneshot::channel();
        staging.raw().slice(0..bytes.next_multiple_of(8).min(staging.bytes())).map_async(wgpu::MapMode::Read, move |r| {
            let _ = send.send(r.is_ok());
        });
        self.wait_for(after);
        let mapped = receive.await.unwrap_or(false);
        if !mapped {
            self.check()?;
            return Err(Error::DeviceLost("a buffer could not be mapped for reading".into()));
        }
        let view = staging.raw().slice(0..bytes.next_multiple_of(8).min(staging.bytes())).get_mapped_range();
        let data = match view {
            Ok(view) => view[..bytes as usize].to_vec(),
            Err(e) => {
                staging.raw().unmap();
                return Err(Error::DeviceLost(format!("reading a mapped buffer: {e}")));
            }
        };
        // First of all: the buffer is used again, whatever else the device has to report.
        staging.raw().unmap();
        self.check()?;
        Ok(data)
    }

    /// Reads a whole range as 32-bit values.
    pub async fn read_as<T: bytemuck::Pod>(&self, buf: &Buf, count: usize) -> Result<Vec<T>> {
        let bytes = self.read(buf, 0, (count * size_of::<T>()) as u64).await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}
