//! What an op sees when it runs on the processor.

use std::cell::Cell;
use std::rc::Rc;

use half::f16;

use super::{Cost, Desc, HostIo, StepParams};
use crate::Result;
use crate::cpu::{Buf, Cpu, Pool, kernels::Packed};
use crate::tensor::DType;

/// A value with its memory.
#[derive(Clone)]
pub(super) struct View {
    pub desc: Desc,
    pub buf: Buf,
}

/// What one operation of a program works on.
pub(super) struct Operands {
    /// The operation's name.
    pub op: &'static str,
    pub inputs: Vec<View>,
    pub outputs: Vec<View>,
    /// Per output: it already holds a value that is to be added to or changed.
    pub acc: Vec<bool>,
}

/// What an op sees when it runs on the processor. Values are row-major f32 or u32 (a cache: or f16); weights are rows as files have them.
///
/// The planner gives no output the memory of an input, so slices of both may be alive together. Outputs that are not `acc` hold what an
/// earlier value left there: write all of it.
pub struct CpuIo<'p> {
    pub(super) node: &'p Operands,
    pub(super) step: &'p StepParams,
    pub(super) cpu: &'p Cpu,
    /// Outputs handed out: each once.
    pub(super) taken: Cell<u64>,
}

impl<'p> CpuIo<'p> {
    pub fn step(&self) -> &'p StepParams {
        self.step
    }

    /// The threads.
    pub fn pool(&self) -> &'p Pool {
        self.cpu.pool()
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// Shape and type of input `i`.
    pub fn desc(&self, i: usize) -> &'p Desc {
        &self.node.inputs[i].desc
    }

    /// Shape and type of output `i`.
    pub fn out_desc(&self, i: usize) -> &'p Desc {
        &self.node.outputs[i].desc
    }

    /// All inputs and outputs, and no arithmetic.
    pub fn moved(&self) -> Cost {
        let all = self.node.inputs.iter().chain(&self.node.outputs);
        Cost { flops: 0.0, bytes: all.map(|v| v.desc.file_bytes() as f64).sum() }
    }

    /// Whether output `i` is added to (or changed).
    pub fn acc(&self, i: usize) -> bool {
        self.node.acc[i]
    }

    /// Input `i`.
    ///
    /// # Panics
    /// When it is no f32 value.
    pub fn f32(&self, i: usize) -> &'p [f32] {
        self.slice(i, DType::F32)
    }

    /// Input `i`.
    ///
    /// # Panics
    /// When it is no f16 value.
    pub fn f16(&self, i: usize) -> &'p [f16] {
        self.slice(i, DType::F16)
    }

    /// Input `i`.
    ///
    /// # Panics
    /// When it is no u32 value.
    pub fn u32(&self, i: usize) -> &'p [u32] {
        self.slice(i, DType::U32)
    }

    fn slice<T: bytemuck::Pod>(&self, i: usize, dtype: DType) -> &'p [T] {
        let v = &self.node.inputs[i];
        assert_eq!(v.desc.dtype, dtype, "{}: input {i}", self.node.op);
        // SAFETY: only outputs are written while an op runs, and no output shares memory with an input.
        unsafe { v.buf.slice(v.desc.len()) }
    }

    /// Input `i` as a matrix of any type.
    pub fn weight(&self, i: usize) -> Packed<'p> {
        let v = &self.node.inputs[i];
        // SAFETY: as in `slice`.
        let bytes = unsafe { v.buf.slice(v.desc.file_bytes() as usize) };
        Packed { dtype: v.desc.dtype, rows: v.desc.rows(), cols: v.desc.cols(), bytes }
    }

    /// Output `i`; each can be taken once.
    ///
    /// # Panics
    /// When it is no f32 value or was taken before.
    pub fn out(&self, i: usize) -> &'p mut [f32] {
        self.take(i, DType::F32)
    }

    /// Output `i`; each can be taken once.
    ///
    /// # Panics
    /// When it is no f16 value or was taken before.
    pub fn out_f16(&self, i: usize) -> &'p mut [f16] {
        self.take(i, DType::F16)
    }

    /// Output `i`; each can be taken once.
    ///
    /// # Panics
    /// When it is no u32 value or was taken before.
    pub fn out_u32(&self, i: usize) -> &'p mut [u32] {
        self.take(i, DType::U32)
    }

    fn take<T: bytemuck::Pod>(&self, i: usize, dtype: DType) -> &'p mut [T] {
        let v = &self.node.outputs[i];
        assert_eq!(v.desc.dtype, dtype, "{}: output {i}", self.node.op);
        let bit = 1u64 << i;
        assert_eq!(self.taken.get() & bit, 0, "{}: output {i} was taken before", self.node.op);
        self.taken.set(self.taken.get() | bit);
        // SAFETY: taken once, and no other value of this op has its memory.
        unsafe { v.buf.slice_mut(v.desc.len()) }
    }

    /// Runs the f64 reference on copies.
    ///
    /// # Errors
    /// From the reference.
    pub(super) fn by_reference(&self, run: impl FnOnce(&mut HostIo<'_>) -> Result<()>) -> Result<()> {
        let read = |v: &View| -> Vec<f64> {
            if v.desc.dtype == DType::U32 {
                // SAFETY: as in `slice`.
                return unsafe { v.buf.slice::<u32>(v.desc.len()) }.iter().map(|w| f64::from(*w)).collect();
            }
            // SAFETY: as in `slice`.
            let bytes = unsafe { v.buf.slice::<u8>(v.desc.file_bytes() as usize) };
            crate::tensor::dequantize(v.desc.dtype, bytes).into_iter().map(f64::from).collect()
        };
        let n = self.node;
        let mut io = HostIo {
            descs: n.inputs.iter().map(|v| v.desc.clone()).collect(),
            inputs: n.inputs.iter().map(|v| Rc::new(read(v))).collect(),
            out_descs: n.outputs.iter().map(|v| v.desc.clone()).collect(),
            outputs: n.outputs.iter().zip(&n.acc).map(|(v, acc)| if *acc { read(v) } else { vec![0.0; v.desc.len()] }).collect(),
            acc: n.acc.clone(),
            step: self.step,
        };
        run(&mut io)?;
        for (i, data) in io.outputs.iter().enumerate() {
            match n.outputs[i].desc.dtype {
                DType::U32 => self.out_u32(i).iter_mut().zip(data).for_each(|(y, v)| *y = *v as u32),
                _ => self.out(i).iter_mut().zip(data).for_each(|(y, v)| *y = *v as f32),
            }
        }
        Ok(())
    }
}
