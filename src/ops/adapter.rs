//! Several adapters in one pass: their A and B side by side in one tensor, and the choice of one for every row.

use crate::cpu::kernels::rows as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Back, Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// A column that belongs to no adapter; as a row's choice, the base model.
pub const NO_ADAPTER: u32 = u32::MAX;

/// `y[m, c] = scales[c]·h[m, c]` where column c belongs to the adapter of row m, otherwise 0.
///
/// Inputs: h (M, R); rows (M) u32, the adapter of each row; owners (R) u32, the adapter of each column; scales (R) f32, frozen. An adapter that
/// owns no column, as [`NO_ADAPTER`], gives a row of zeros: that row is the base model's. Output: y (M, R).
#[derive(Clone, Copy, Debug)]
pub struct AdapterRows;

impl Op for AdapterRows {
    fn name(&self) -> &'static str {
        "adapter_rows"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (h, rows, owners, scales) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        let whole = (rows.dtype, owners.dtype, scales.dtype) == (DType::U32, DType::U32, DType::F32) && h.dtype == DType::F32;
        if !whole || rows.len() != h.rows() || owners.len() != h.cols() || scales.len() != h.cols() {
            return Err(Error::shape("adapter_rows", format!("h {h:?} with rows {rows:?}, owners {owners:?}, scales {scales:?}")));
        }
        Ok(vec![h.clone()])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (n, cols) = (cx.inputs[0].desc.len(), cx.inputs[0].desc.cols());
        let grid = if n == 0 { [0; 3] } else { cx.gpu().grid(n, 64) };
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.input(3), &cx.output(0)];
        cx.dispatch(KernelKey::new("adapter_rows").flag("ACC", cx.acc[0]), &[n as u32, cols as u32], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let [h, rows, owners, scales] = [0, 1, 2, 3].map(|i| io.input(i));
        let cols = owners.len();
        for (i, h) in h.iter().enumerate() {
            let (row, owner) = (rows[i / cols] as u32, owners[i % cols] as u32);
            if row == owner && owner != NO_ADAPTER {
                io.add(0, i, scales[i % cols] * h);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let columns = kernels::Columns { owners: io.u32(2), scales: io.f32(3) };
        kernels::owned(io.pool(), io.out(0), io.f32(0), io.u32(1), columns, io.acc(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        if b.wants(3) {
            return Err(Error::shape("adapter_rows", "scales have no gradient"));
        }
        let (rows, owners, scales) = (b.input(1), b.input(2), b.input(3));
        let dh = b.sink(0);
        b.emit(*self, &[dy, rows, owners, scales], &[dh])
    }
}

/// `rows` × `cols` elements that [`Stack`] copies from one of its inputs, and where they lie there and in its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub input: usize,
    pub rows: usize,
    pub cols: usize,
    pub from: usize,
    pub from_stride: usize,
    pub to: usize,
    pub to_stride: usize,
}

impl Block {
    /// First element behind it in its input and in the output.
    fn ends(&self) -> Option<(usize, usize)> {
        let behind = |at: usize, stride: usize| (self.rows - 1).checked_mul(stride)?.checked_add(at)?.checked_add(self.cols);
        Some((behind(self.from, self.from_stride)?, behind(self.to, self.to_stride)?))
    }

    /// The block that goes on where this one ends, joined to it: fewer dispatches for the same copies.
    fn join(&self, next: &Block) -> Option<Block> {
        if next.rows != 1 || next.input != self.input || next.cols != self.cols {
            return None;
        }
        let (from, to) = (next.from.checked_sub(self.from)?, next.to.checked_sub(self.to)?);
        if self.rows == 1 {
            return Some(Block { rows: 2, from_stride: from, to_stride: to, ..*self });
        }
        let goes_on = (from, to) == (self.rows * self.from_stride, self.rows * self.to_stride);
        goes_on.then_some(Block { rows: self.rows + 1, ..*self })
    }
}

/// Blocks of several tensors, copied into one: adapters side by side. Every element of the output comes from one block, and every element of an
/// input that needs a gradient goes into one.
///
/// Inputs: any number of f32 tensors. Output: f32 of `shape`.
#[derive(Clone, Debug)]
pub struct Stack {
    shape: Vec<usize>,
    blocks: Vec<Block>,
    /// See [`Stack::of_activations`].
    halves: bool,
}

impl Stack {
    /// Blocks that go on where the one before them ends are joined; empty ones are left out.
    pub fn new(shape: &[usize], blocks: impl IntoIterator<Item = Block>) -> Stack {
        let mut joined: Vec<Block> = Vec::new();
        for block in blocks.into_iter().filter(|b| b.rows * b.cols > 0) {
            let rows = (0..block.rows).map(|r| Block {
                rows: 1,
                from: block.from + r * block.from_stride,
                to: block.to + r * block.to_stride,
                ..block
            });
            for row in rows {
                match joined.last_mut().and_then(|last| Some((last.join(&row)?, last))) {
                    Some((both, last)) => *last = both,
                    None => joined.push(row),
                }
            }
        }
        Stack { shape: shape.to_vec(), blocks: joined, halves: false }
    }

    /// For activations, which may wait for the backward pass in half precision; weights stay what they are.
    #[must_use]
    pub fn of_activations(self) -> Stack {
        Stack { halves: true, ..self }
    }

    /// Of the output.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// What is copied: a dispatch each.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// From the output's gradient, which is the only input, to that of input `i`.
    fn reversed(&self, i: usize, shape: &[usize]) -> Stack {
        let turned = |b: &Block| Block { input: 0, from: b.to, from_stride: b.to_stride, to: b.from, to_stride: b.from_stride, ..*b };
        let blocks = self.blocks.iter().filter(|b| b.input == i).map(turned).collect();
        Stack { shape: shape.to_vec(), blocks, halves: false }
    }
}

impl Op for Stack {
    fn name(&self) -> &'static str {
        "stack"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let len: usize = self.shape.iter().product();
        let fits = |b: &Block| {
            let input = inputs.get(b.input).filter(|d| d.dtype == DType::F32);
            input.zip(b.ends()).is_some_and(|(d, (from, to))| from <= d.len() && to <= len)
        };
        let copied: usize = self.blocks.iter().map(|b| b.rows * b.cols).sum();
        if copied != len || !self.blocks.iter().all(fits) {
            let shapes: Vec<_> = inputs.iter().map(|d| &d.shape).collect();
            return Err(Error::shape("stack", format!("blocks {:?} of {shapes:?} do not fill {:?}", self.blocks, self.shape)));
        }
        Ok(vec![Desc::f32(&self.shape)])
    }

    fn halves(&self, _i: usize) -> bool {
        self.halves
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        for b in &self.blocks {
            let n = b.rows * b.cols;
            let params = [n, b.cols, b.from, b.from_stride, b.to, b.to_stride].map(|v| v as u32);
            let grid = cx.gpu().grid(n, 64);
            cx.dispatch(KernelKey::new("copy_block").flag("ACC", cx.acc[0]), &params, &[&cx.input(b.input), &cx.output(0)], grid);
            cx.cost(Cost { flops: 0.0, bytes: 8.0 * n as f64 });
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        for b in &self.blocks {
            let x = io.input(b.input);
            for r in 0..b.rows {
                for c in 0..b.cols {
                    io.add(0, b.to + r * b.to_stride + c, x[b.from + r * b.from_stride + c]);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let y = io.out(0);
        for b in &self.blocks {
            let (from, to) = ((b.from, b.from_stride), (b.to, b.to_stride));
            kernels::copy_block(io.pool(), [b.rows, b.cols], (io.f32(b.input), from), (&mut *y, to), io.acc(0));
        }
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let inputs = self.blocks.iter().map(|b| b.input).max().map_or(0, |i| i + 1);
        for i in (0..inputs).filter(|i| b.wants(*i)).collect::<Vec<_>>() {
            let shape = {
                let v = b.input(i);
                b.desc(v).shape
            };
            let dx = b.sink(i);
            b.emit(self.reversed(i, &shape), &[dy], &[dx])?;
        }
        Ok(())
    }
}
