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

    /// Bytes on the GPU (see [`pack_rows`] for the packed layouts).
    pub fn gpu_bytes(&self) -> u64 {
        self.rows() as u64 * gpu_row_bytes(self.dtype, self.cols())
    }

    /// Bytes in a file, and on the processor: rows as they are, without padding.
    pub fn file_bytes(&self) -> u64 {
        (self.rows() * (self.cols() / self.dtype.block_len() * self.dtype.block_bytes())) as u64
    }
}

/// Bytes of one row of `cols` elements on the GPU. 16-bit rows are padded to a whole `u32`; a quantized block of 32
/// is its integers (nibbles: 4 words, bytes: 8 words) plus one word with scale and minimum in half precision.
pub fn gpu_row_bytes(dtype: DType, cols: usize) -> u64 {
    let cols = cols as u64;
    match dtype {
        DType::F32 | DType::U32 => cols * 4,
        DType::F16 | DType::BF16 => cols.div_ceil(2) * 4,
        DType::Q4_0 | DType::Q4_1 => cols / 32 * 20,
        DType::Q8_0 => cols / 32 * 36,
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
        if desc.dtype.is_quantized() && !desc.cols().is_multiple_of(32) {
            return Err(Error::shape(name, format!("rows of {} elements are not whole blocks of 32", desc.cols())));
        }
        let storage = match exec {
            Exec::Reference => Storage::Reference(Rc::new(vec![0.0; desc.len()])),
            Exec::Cpu(cpu) => Storage::Cpu(cpu.buffer(name, desc.file_bytes())?),
            Exec::Gpu(gpu) => {
                let row = gpu_row_bytes(desc.dtype, desc.cols()).max(1);
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
                check_scales(&self.0.name, d.dtype, first, bytes)?;
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
            if d.dtype.is_quantized() {
                let blocks = d.cols() / 32;
                let wide = if d.dtype == DType::Q8_0 { 32 } else { 16 };
                let ints = gpu.read(&c.buf, (at * blocks * wide) as u64, (n * blocks * wide) as u64).await?;
                let scales = gpu.read(&c.buf, ((c.rows * wide + at * 4) * blocks) as u64, (n * blocks * 4) as u64).await?;
                unpack_blocks(d.dtype, &ints, &scales, &mut out);
            } else {
                let row = gpu_row_bytes(d.dtype, d.cols());
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

/// Scales of quantized blocks must be numbers.
///
/// # Errors
/// [`Error::NotFinite`].
fn check_scales(name: &str, dtype: DType, first: usize, bytes: &[u8]) -> Result<()> {
    let infinite = |b: &[u8]| b[1] & 0x7c == 0x7c;
    let bad = |b: &[u8]| infinite(b) || (dtype == DType::Q4_1 && infinite(&b[2..]));
    if dtype.is_quantized() && bytes.chunks_exact(dtype.block_bytes()).any(bad) {
        return Err(not_finite(name, first));
    }
    Ok(())
}

fn not_finite(name: &str, first: usize) -> Error {
    Error::NotFinite(format!("{name}: a block scale near row {first}"))
}

/// Repacks `rows` of a file into the GPU layout of a tensor of `total_rows` rows and hands the pieces to `write(byte offset, data)`.
///
/// Quantized tensors are two planes, integers first and then one word per block, `pack2x16float(d, m)`:
/// nibble words hold elements `8w+j` in the low and `8w+4+j` in the high half of byte `j`; Q4_0 becomes `d·q + m` with `m = −8d`
/// (exact in half precision), so that one kernel serves both.
///
/// # Errors
/// [`Error::BadFile`] when −8d is not a half-precision number or a scale is not finite.
pub fn pack_rows(
    name: &str,
    dtype: DType,
    cols: usize,
    total_rows: usize,
    first: usize,
    bytes: &[u8],
    write: &mut dyn FnMut(u64, &[u8]),
) -> Result<()> {
    match dtype {
        DType::F32 | DType::U32 => write((first * cols * 4) as u64, bytes),
        DType::F16 | DType::BF16 if cols.is_multiple_of(2) => write((first * cols * 2) as u64, bytes),
        DType::F16 | DType::BF16 => {
            // Odd rows are padded to a whole word.
            let mut out = Vec::with_capacity(bytes.len() + bytes.len() / cols);
            for row in bytes.chunks(cols * 2) {
                out.extend_from_slice(row);
                out.extend_from_slice(&[0, 0]);
            }
            write((first * cols.div_ceil(2) * 4) as u64, &out);
        }
        DType::Q4_0 | DType::Q4_1 | DType::Q8_0 => {
            let block = dtype.block_bytes();
            let per_row = cols / 32;
            let wide = if dtype == DType::Q8_0 { 32 } else { 16 };
            let blocks = bytes.len() / block;
            let mut ints = Vec::with_capacity(blocks * wide);
            let mut scales: Vec<u32> = Vec::with_capacity(blocks);
            for b in bytes.chunks_exact(block) {
                let d = u16::from_le_bytes([b[0], b[1]]);
                let (m, q) = match dtype {
                    DType::Q4_1 => (u16::from_le_bytes([b[2], b[3]]), &b[4..]),
                    DType::Q4_0 => (half::f16::from_f32(half::f16::from_bits(d).to_f32() * -8.0).to_bits(), &b[2..]),
                    _ => (0, &b[2..]),
                };
                if (d & 0x7c00) == 0x7c00 || (m & 0x7c00) == 0x7c00 {
                    return Err(not_finite(name, first));
                }
                scales.push(u32::from(d) | (u32::from(m) << 16));
                if wide == 32 {
                    ints.extend_from_slice(q);
                } else {
                    // File: byte j holds element j (low) and j + 16 (high). Ours: word w, byte j holds 8w + j and 8w + 4 + j.
                    for w in 0..4 {
                        for j in 0..4 {
                            let element = |e: usize| if e < 16 { q[e] & 15 } else { q[e - 16] >> 4 };
                            ints.push(element(8 * w + j) | (element(8 * w + 4 + j) << 4));
                        }
                    }
                }
            }
            write((first * per_row * wide) as u64, &ints);
            write(((total_rows * wide + first * 4) * per_row) as u64, bytemuck::cast_slice(&scales));
        }
    }
    Ok(())
}

/// The inverse of [`pack_rows`] for blocks: integers and their scale words to values.
fn unpack_blocks(dtype: DType, ints: &[u8], scales: &[u8], out: &mut Vec<f32>) {
    let half = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
    for (q, s) in ints.chunks_exact(if dtype == DType::Q8_0 { 32 } else { 16 }).zip(scales.chunks_exact(4)) {
        let (d, m) = (half(s), half(&s[2..]));
        if dtype == DType::Q8_0 {
            out.extend(q.iter().map(|q| f32::from(q.cast_signed()) * d));
        } else {
            for word in q.chunks_exact(4) {
                out.extend(word.iter().map(|q| f32::from(q & 15) * d + m));
                out.extend(word.iter().map(|q| f32::from(q >> 4) * d + m));
            }
        }
    }
}
