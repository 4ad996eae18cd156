//! Persistent tensors: weights, adapter, gradients, moments, caches.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Exec, Mem};
use crate::cpu;
use crate::gpu::Buf;
use crate::tensor::DType;
use crate::{Error, Result};

/// Shape (row-major) and type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Desc {
    pub shape: Vec<usize>,
    pub dtype: DType,
}

impl Desc {
    /// f32 values of `shape`.
    pub fn f32(shape: &[usize]) -> Self {
        Desc { shape: shape.to_vec(), dtype: DType::F32 }
    }

    /// u32 values of `shape`.
    pub fn u32(shape: &[usize]) -> Self {
        Desc { shape: shape.to_vec(), dtype: DType::U32 }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of the last axis.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Product of all axes but the last.
    pub fn rows(&self) -> usize {
        if self.cols() == 0 { 0 } else { self.len() / self.cols() }
    }

    /// Bytes on the GPU (see [`Blocks::pack`](crate::tensor::packing::Blocks::pack) for the packed layouts).
    pub fn gpu_bytes(&self) -> u64 {
        self.rows() as u64 * self.dtype.stored().gpu_row_bytes(self.cols())
    }

    /// Bytes in a file, and on the processor: rows as they are, without padding.
    pub fn file_bytes(&self) -> u64 {
        (self.rows() * (self.cols() / self.dtype.block_len() * self.dtype.block_bytes())) as u64
    }
}

/// Rows of a split weight's parts come in whole tiles of the kernels.
const TILE: usize = 64;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A tensor that outlives a step. Cloning shares it.
#[derive(Clone)]
pub struct Tensor(Rc<Inner>);

struct Inner {
    id: u64,
    name: String,
    desc: Desc,
    storage: RefCell<Storage>,
    /// Where its gradient is accumulated; a tensor without one is frozen.
    grad: RefCell<Option<Tensor>>,
}

enum Storage {
    /// Consecutive row ranges: one buffer, or several where one binding is too small for the tensor.
    Gpu(Vec<Chunk>),
    /// Rows as files have them.
    Cpu(cpu::Buf),
    Reference(Rc<Vec<f64>>),
}

/// Rows `first..first + rows` of a tensor.
#[derive(Clone)]
pub struct Chunk {
    pub first: usize,
    pub rows: usize,
    pub buf: Buf,
}

impl Tensor {
    /// A zeroed tensor. Matrices of weights are split by rows into as many buffers as bindings need; of everything else (caches, vectors,
    /// integers, the one row of an arena) kernels see all at once.
    ///
    /// # Errors
    /// [`Error::Shape`] when quantized rows are not whole blocks, [`Error::OutOfMemory`] when one binding cannot hold what it must.
    pub fn zeros(exec: &Exec, name: &str, desc: Desc) -> Result<Tensor> {
        let block = desc.dtype.block_len();
        if !desc.cols().is_multiple_of(block) {
            let (cols, dtype) = (desc.cols(), desc.dtype.name());
            return Err(Error::shape(name, format!("rows of {cols} elements are not whole blocks of {block} ({dtype})")));
        }
        let storage = match exec {
            Exec::Reference => Storage::Reference(Rc::new(vec![0.0; desc.len()])),
            Exec::Cpu(cpu) => Storage::Cpu(cpu.buffer(name, desc.file_bytes())?),
            Exec::Gpu(gpu) => {
                let row = desc.dtype.stored().gpu_row_bytes(desc.cols()).max(1);
                let limit = gpu.caps().max_binding.min(gpu.caps().max_buffer);
                let mut per = usize::try_from(limit / row).unwrap_or(usize::MAX);
                if per < desc.rows() {
                    let (rows, shape) = (desc.rows(), &desc.shape);
                    let splits = desc.shape.len() == 2 && desc.dtype != DType::U32;
                    per = per / TILE * TILE;
                    if !splits || per == 0 {
                        let least = if splits { TILE.min(rows) } else { rows };
                        return Err(Error::OutOfMemory(format!("{name} {shape:?}: {least} rows of {row} bytes, bindings end at {limit}")));
                    }
                }
                let mut chunks = Vec::new();
                let mut first = 0;
                while first < desc.rows() || chunks.is_empty() {
                    let rows = per.min(desc.rows() - first);
                    chunks.push(Chunk { first, rows, buf: gpu.storage(name, rows as u64 * row)? });
                    first += rows;
                    if desc.rows() == 0 {
                        break;
                    }
                }
                Storage::Gpu(chunks)
            }
        };
        Ok(Self::new(name, desc, storage))
    }

    fn new(name: &str, desc: Desc, storage: Storage) -> Tensor {
        Tensor(Rc::new(Inner {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: name.to_string(),
            desc,
            storage: RefCell::new(storage),
            grad: RefCell::new(None),
        }))
    }

    /// A tensor of f32 values given as f64 (exact for what f32 can hold).
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn from_f64(exec: &Exec, name: &str, shape: &[usize], data: &[f64]) -> Result<Tensor> {
        let t = Tensor::zeros(exec, name, Desc::f32(shape))?;
        t.set_f64(exec, data);
        Ok(t)
    }

    /// A plain tensor from little-endian file bytes of its own type (blocks as in a GGUF file).
    ///
    /// # Errors
    /// As [`Tensor::zeros`].
    pub fn from_bytes(exec: &Exec, name: &str, desc: Desc, bytes: &[u8]) -> Result<Tensor> {
        let t = Tensor::zeros(exec, name, desc)?;
        t.write_rows(exec, 0, bytes)?;
        Ok(t)
    }

    pub fn id(&self) -> u64 {
        self.0.id
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn desc(&self) -> &Desc {
        &self.0.desc
    }

    /// Its gradient, if it is trainable.
    pub fn grad(&self) -> Option<Tensor> {
        self.0.grad.borrow().clone()
    }

    /// Makes it trainable (or frozen again).
    pub fn set_grad(&self, grad: Option<Tensor>) {
        *self.0.grad.borrow_mut() = grad;
    }

    /// True where one binding was too small for it: ops that need all its rows at once cannot take it.
    pub fn is_split(&self) -> bool {
        matches!(&*self.0.storage.borrow(), Storage::Gpu(c) if c.len() > 1)
    }

    /// The row ranges on the GPU.
    ///
    /// # Panics
    /// On a tensor that is not on a GPU.
    pub fn chunks(&self) -> Vec<Chunk> {
        match &*self.0.storage.borrow() {
            Storage::Gpu(c) => c.clone(),
            _ => panic!("{} does not live on the GPU", self.0.name),
        }
    }

    /// The memory of a tensor that is not split.
    ///
    /// # Panics
    /// On a split tensor or one of the reference.
    pub fn mem(&self) -> Mem {
        match &*self.0.storage.borrow() {
            Storage::Gpu(c) if c.len() == 1 => Mem::Gpu(c[0].buf.clone()),
            Storage::Cpu(b) => Mem::Cpu(b.clone()),
            Storage::Gpu(_) => panic!("{} is split over several buffers", self.0.name),
            Storage::Reference(_) => panic!("{} lives in the reference", self.0.name),
        }
    }

    /// Writes whole rows in file layout, starting at row `first`, repacking blocks for the GPU.
    ///
    /// # Errors
    /// [`Error::Shape`] when the bytes are not whole rows of this tensor, [`Error::BadFile`] for impossible scales.
    pub fn write_rows(&self, exec: &Exec, first: usize, bytes: &[u8]) -> Result<()> {
        let d = &self.0.desc;
        let file_row = d.cols() / d.dtype.block_len() * d.dtype.block_bytes();
        if file_row == 0 || !bytes.len().is_multiple_of(file_row) || first + bytes.len() / file_row > d.rows() {
            return Err(Error::shape(
                &self.0.name,
                format!("{} bytes at row {first} are not whole rows of {file_row} bytes inside {:?}", bytes.len(), d.shape),
            ));
        }
        let rows = bytes.len() / file_row;
        match (&mut *self.0.storage.borrow_mut(), exec) {
            (Storage::Cpu(buf), _) => {
                if d.dtype.is_quantized() && !d.dtype.stored().finite(bytes) {
                    return Err(not_finite(&self.0.name, first));
                }
                buf.write((first * file_row) as u64, bytes);
            }
            (Storage::Reference(data), _) => {
                let values = pack_host(d.dtype, bytes);
                Rc::make_mut(data)[first * d.cols()..(first + rows) * d.cols()].copy_from_slice(&values);
            }
            (Storage::Gpu(chunks), Exec::Gpu(gpu)) => {
                for c in chunks.iter() {
                    let (a, b) = (first.max(c.first), (first + rows).min(c.first + c.rows));
                    if a < b {
                        let part = &bytes[(a - first) * file_row..(b - first) * file_row];
                        pack_rows(&self.0.name, d.dtype, d.cols(), c.rows, a - c.first, part, &mut |at, data| gpu.write(&c.buf, at, data))?;
                    }
                }
            }
            _ => panic!("{}: executor and storage differ", self.0.name),
        }
        Ok(())
    }

    /// Writes elements of an f32 or u32 tensor that is not split, starting at element `first`, from little-endian bytes.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit.
    pub fn write_elements(&self, exec: &Exec, first: usize, bytes: &[u8]) -> Result<()> {
        let d = &self.0.desc;
        if !matches!(d.dtype, DType::F32 | DType::U32) || !bytes.len().is_multiple_of(4) || first + bytes.len() / 4 > d.len() {
            return Err(Error::shape(
                &self.0.name,
                format!("{} bytes at element {first} of {:?} {}", bytes.len(), d.shape, d.dtype.name()),
            ));
        }
        match (&mut *self.0.storage.borrow_mut(), exec) {
            (Storage::Cpu(buf), _) => buf.write((first * 4) as u64, bytes),
            (Storage::Reference(data), _) => {
                let values = pack_host(d.dtype, bytes);
                Rc::make_mut(data)[first..first + values.len()].copy_from_slice(&values);
            }
            (Storage::Gpu(chunks), Exec::Gpu(gpu)) => gpu.write(&chunks[0].buf, (first * 4) as u64, bytes),
            _ => panic!("{}: executor and storage differ", self.0.name),
        }
        Ok(())
    }

    /// Reads rows of any type as f32.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn read_rows(&self, exec: &Exec, first: usize, rows: usize) -> Result<Vec<f32>> {
        let d = &self.0.desc;
        match &*self.0.storage.borrow() {
            Storage::Reference(data) => return Ok(data[first * d.cols()..(first + rows) * d.cols()].iter().map(|v| *v as f32).collect()),
            Storage::Cpu(buf) => {
                let row = (d.cols() / d.dtype.block_len() * d.dtype.block_bytes()) as u64;
                return Ok(crate::tensor::dequantize(d.dtype, &buf.read(first as u64 * row, rows as u64 * row)));
            }
            Storage::Gpu(_) => {}
        }
        let gpu = exec.gpu().expect("a GPU tensor is read through the GPU executor");
        let mut out = Vec::with_capacity(rows * d.cols());
        for c in self.chunks() {
            let (a, b) = (first.max(c.first), (first + rows).min(c.first + c.rows));
            if a >= b {
                continue;
            }
            let (at, n) = (a - c.first, b - a);
            let stored = d.dtype.stored();
            if let Some(b) = stored.blocks() {
                // Bytes of a row in both planes.
                let (low, high) = ((d.cols() / 32 * b.low_bits * 4) as u64, stored.gpu_row_bytes(d.cols()));
                let high = high - low;
                let ints: Vec<u32> = bytemuck::pod_collect_to_vec(&gpu.read(&c.buf, at as u64 * low, n as u64 * low).await?);
                let records = gpu.read(&c.buf, c.rows as u64 * low + at as u64 * high, n as u64 * high).await?;
                let records: Vec<u32> = bytemuck::pod_collect_to_vec(&records);
                let (per_low, per_record) = (stored.block_len / 32 * b.low_bits, b.record_words(stored.block_len));
                let mut values = vec![0.0; stored.block_len];
                for (low, record) in ints.chunks_exact(per_low).zip(records.chunks_exact(per_record)) {
                    b.unpack_gpu(low, record, &mut values);
                    out.extend_from_slice(&values);
                }
            } else {
                let row = stored.gpu_row_bytes(d.cols());
                let bytes = gpu.read(&c.buf, at as u64 * row, n as u64 * row).await?;
                let used = d.cols() * d.dtype.block_bytes();
                for r in bytes.chunks_exact(row as usize) {
                    out.extend(crate::tensor::dequantize(d.dtype, &r[..used]));
                }
            }
        }
        Ok(out)
    }

    /// Sets all values of an f32 or u32 tensor.
    pub fn set_f64(&self, exec: &Exec, values: &[f64]) {
        assert_eq!(values.len(), self.0.desc.len(), "{}", self.0.name);
        match (&mut *self.0.storage.borrow_mut(), exec) {
            (Storage::Reference(data), _) => *data = Rc::new(values.to_vec()),
            (Storage::Cpu(buf), _) => buf.write(0, bytemuck::cast_slice(&self.words(values))),
            (Storage::Gpu(chunks), Exec::Gpu(gpu)) => {
                let words = self.words(values);
                for c in chunks.iter() {
                    let w = self.0.desc.cols();
                    gpu.write(&c.buf, 0, bytemuck::cast_slice(&words[c.first * w..(c.first + c.rows) * w]));
                }
            }
            _ => panic!("{}: executor and storage differ", self.0.name),
        }
    }

    /// Values as the 32-bit words of this tensor's type.
    fn words(&self, values: &[f64]) -> Vec<u32> {
        match self.0.desc.dtype {
            DType::U32 => values.iter().map(|v| *v as u32).collect(),
            DType::F32 => values.iter().map(|v| (*v as f32).to_bits()).collect(),
            other => panic!("{}: set_f64 on {}", self.0.name, other.name()),
        }
    }

    /// Reads all values of an f32 or u32 tensor.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn to_f64(&self, exec: &Exec) -> Result<Vec<f64>> {
        let value = |w: &u32| if self.0.desc.dtype == DType::U32 { f64::from(*w) } else { f64::from(f32::from_bits(*w)) };
        match &*self.0.storage.borrow() {
            Storage::Reference(data) => return Ok(data.to_vec()),
            Storage::Cpu(buf) => {
                let words: Vec<u32> = bytemuck::pod_collect_to_vec(&buf.read(0, self.0.desc.len() as u64 * 4));
                return Ok(words.iter().map(value).collect());
            }
            Storage::Gpu(_) => {}
        }
        let gpu = exec.gpu().expect("a GPU tensor is read through the GPU executor");
        let mut out = Vec::with_capacity(self.0.desc.len());
        for c in self.chunks() {
            let words: Vec<u32> = gpu.read_as(&c.buf, c.rows * self.0.desc.cols()).await?;
            out.extend(words.iter().map(value));
        }
        Ok(out)
    }

    /// The reference's values (shared, not copied).
    pub(super) fn reference(&self) -> Rc<Vec<f64>> {
        match &*self.0.storage.borrow() {
            Storage::Reference(d) => d.clone(),
            _ => panic!("{} does not live in the reference", self.0.name),
        }
    }

    pub(super) fn set_reference(&self, data: Vec<f64>) {
        *self.0.storage.borrow_mut() = Storage::Reference(Rc::new(data));
    }
}

/// A flat f32 buffer that many small trainable tensors share, so that one dispatch updates them all.
pub struct Arena {
    pub flat: Tensor,
    pub parts: Vec<Tensor>,
}

impl Arena {
    /// One flat tensor with `parts` inside it, each at a multiple of 64 elements (256 bytes: the binding alignment).
    /// In the reference the parts are tensors of their own and `flat` is a view that the optimizer rebuilds.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when one binding is too small for all of them.
    pub fn zeros(exec: &Exec, name: &str, parts: &[(String, Vec<usize>)]) -> Result<Arena> {
        let total: usize = parts.iter().map(|(_, s)| s.iter().product::<usize>().next_multiple_of(64)).sum();
        let flat = Tensor::zeros(exec, name, Desc::f32(&[1, total.max(64)]))?;
        let mut offset = 0u64;
        let mut out = Vec::new();
        for (part, shape) in parts {
            let desc = Desc::f32(shape);
            let len = desc.len();
            let storage = match exec {
                Exec::Reference => Storage::Reference(Rc::new(vec![0.0; len])),
                _ => match flat.mem().range(offset * 4, (len as u64 * 4).next_multiple_of(16)) {
                    Mem::Gpu(buf) => Storage::Gpu(vec![Chunk { first: 0, rows: desc.rows(), buf }]),
                    Mem::Cpu(buf) => Storage::Cpu(buf),
                },
            };
            out.push(Tensor::new(part, desc, storage));
            offset += len.next_multiple_of(64) as u64;
        }
        Ok(Arena { flat, parts: out })
    }

    /// Elements of `flat` before part `i`.
    pub fn offset(&self, i: usize) -> usize {
        self.parts[..i].iter().map(|p| p.desc().len().next_multiple_of(64)).sum()
    }
}

fn pack_host(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    crate::tensor::dequantize(dtype, bytes).into_iter().map(f64::from).collect()
}

fn not_finite(name: &str, first: usize) -> Error {
    Error::NotFinite(format!("{name}: a block scale near row {first}"))
}

/// Repacks rows of a file into the GPU layout of a tensor of `total_rows` rows and hands the pieces to `write(byte offset, data)`.
///
/// Rows of plain types stand one after another, 16-bit ones padded to whole words. Quantized tensors are two planes, the low bits of all
/// integers first and then a record of scales and high bits for each block ([`Blocks::pack`](crate::tensor::packing::Blocks::pack)).
///
/// # Errors
/// [`Error::NotFinite`] when a scale is none, or the minimum that an offset makes of it has no place in half precision.
fn pack_rows(
    name: &str,
    dtype: DType,
    cols: usize,
    total_rows: usize,
    first: usize,
    bytes: &[u8],
    write: &mut dyn FnMut(u64, &[u8]),
) -> Result<()> {
    let stored = dtype.stored();
    let Some(b) = stored.blocks() else {
        let row = cols * stored.block_bytes;
        if row.is_multiple_of(4) {
            write((first * row) as u64, bytes);
            return Ok(());
        }
        // Odd rows are padded to a whole word.
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / cols);
        for row in bytes.chunks(row) {
            out.extend_from_slice(row);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        write(first as u64 * stored.gpu_row_bytes(cols), &out);
        return Ok(());
    };
    if !stored.finite(bytes) {
        return Err(not_finite(name, first));
    }
    let low_row = cols / 32 * b.low_bits * 4;
    let (mut low, mut records) = (Vec::with_capacity(bytes.len() / 4), Vec::new());
    for block in bytes.chunks_exact(stored.block_bytes) {
        b.pack(block, stored.block_len, &mut low, &mut records);
    }
    let high_row = stored.gpu_row_bytes(cols) - low_row as u64;
    write((first * low_row) as u64, bytemuck::cast_slice(&low));
    write((total_rows * low_row) as u64 + first as u64 * high_row, bytemuck::cast_slice(&records));
    Ok(())
}
