//! A recorded tape made ready: pipelines, bind groups and buffers built once; a replay writes inputs and one small
//! uniform, encodes and submits. Nothing is allocated on the second step.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::lower::{Bound, Lower, Spec};
use super::tensor::Chunk;
use super::{Desc, Place, Plan, StepParams, Tape, Tensor, Val};
use crate::gpu::preprocess::Binding;
use crate::gpu::{Buf, Gpu, Kernel};
use crate::{Error, Result};

/// How a program is submitted.
#[derive(Clone, Copy, Debug)]
pub struct ProgramOptions {
    /// Dispatches per submit: few keep the page painting, many cost less.
    pub per_submit: usize,
}

impl Default for ProgramOptions {
    fn default() -> Self {
        ProgramOptions { per_submit: 256 }
    }
}

/// Slots that several programs share, such as those of one training for batches of different shapes.
#[derive(Default)]
pub struct SlotPool {
    /// Largest first.
    bufs: RefCell<Vec<Buf>>,
}

impl SlotPool {
    /// A different buffer for each size: the largest for the largest. What is too small is replaced; programs built before
    /// keep theirs.
    fn take(&self, gpu: &Gpu, sizes: &[u64]) -> Result<Vec<Buf>> {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(sizes[*i]));
        let mut bufs = self.bufs.borrow_mut();
        let mut out: Vec<Option<Buf>> = vec![None; sizes.len()];
        for (rank, i) in order.into_iter().enumerate() {
            let bytes = sizes[i].max(16).next_multiple_of(16);
            if bufs.get(rank).is_none_or(|b| b.bytes() < bytes) {
                let fresh = gpu.storage("slot", bytes)?;
                if rank < bufs.len() {
                    bufs[rank] = fresh;
                } else {
                    bufs.push(fresh);
                }
            }
            out[i] = Some(bufs[rank].range(0, bytes));
        }
        Ok(out.into_iter().map(|b| b.expect("one per size")).collect())
    }

    /// Bytes of all its slots.
    pub fn bytes(&self) -> u64 {
        self.bufs.borrow().iter().map(Buf::bytes).sum()
    }
}

struct Dispatch {
    kernel: Rc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    op: &'static str,
    flops: f64,
    bytes: f64,
}

struct Port {
    buf: Buf,
    desc: Desc,
    /// For outputs: a mappable twin.
    staging: Option<Buf>,
}

/// See the module.
pub struct Program {
    gpu: Gpu,
    dispatches: Vec<Dispatch>,
    inputs: HashMap<String, Port>,
    outputs: HashMap<String, Port>,
    step: Buf,
    per_submit: Cell<usize>,
    slot_bytes: u64,
    /// Tensors and slots the bind groups refer to.
    _keep: (Vec<Tensor>, Vec<Buf>, Buf),
}

/// One line of [`Program::profile`].
#[derive(Clone, Debug)]
pub struct Timed {
    pub op: &'static str,
    pub kernel: String,
    pub seconds: f64,
    pub flops: f64,
    pub bytes: f64,
}

const ALIGN: usize = 256;

impl Program {
    /// Plans the tape and builds everything a replay needs.
    ///
    /// # Errors
    /// From the ops' lowering, or when the device refuses a buffer.
    pub fn build(gpu: &Gpu, tape: &Tape, options: ProgramOptions) -> Result<Program> {
        Self::build_in(gpu, tape, options, &SlotPool::default())
    }

    /// As [`Program::build`], with slots from a pool. Programs of one pool overwrite each other's temporaries: each replay must be
    /// complete before the next begins, which one queue guarantees.
    ///
    /// # Errors
    /// As [`Program::build`].
    pub fn build_in(gpu: &Gpu, tape: &Tape, options: ProgramOptions, pool: &SlotPool) -> Result<Program> {
        let plan = Plan::new(tape);
        let slots = pool.take(gpu, &plan.slots.iter().map(|s| s.bytes).collect::<Vec<_>>())?;
        let mut inputs = HashMap::new();
        let mut outputs = HashMap::new();
        let mut tensors = Vec::new();
        let mut bound: Vec<Option<Bound>> = Vec::with_capacity(tape.vals.len());
        let one = |desc: &Desc, buf: Buf| Bound { desc: desc.clone(), chunks: vec![Chunk { first: 0, rows: desc.rows(), buf }] };
        for (i, info) in tape.vals.iter().enumerate() {
            bound.push(match &info.place {
                Place::Slot => plan.of[i].map(|s| one(&info.desc, slots[s].clone())),
                Place::Input(name) => {
                    let buf = gpu.storage(name, info.desc.gpu_bytes())?;
                    inputs.insert(name.clone(), Port { buf: buf.clone(), desc: info.desc.clone(), staging: None });
                    Some(one(&info.desc, buf))
                }
                Place::Output(name) => {
                    let buf = gpu.storage(name, info.desc.gpu_bytes())?;
                    let staging = Some(gpu.staging(info.desc.gpu_bytes()));
                    outputs.insert(name.clone(), Port { buf: buf.clone(), desc: info.desc.clone(), staging });
                    Some(one(&info.desc, buf))
                }
                Place::Tensor(t) => {
                    tensors.push(t.clone());
                    Some(Bound { desc: info.desc.clone(), chunks: t.chunks() })
                }
            });
        }
        let get = |v: &Val| bound[v.index()].clone().expect("a value that a node names has a place");
        let mut specs: Vec<Spec> = Vec::new();
        for (i, node) in tape.nodes.iter().enumerate() {
            let ins: Vec<Bound> = node.inputs.iter().map(get).collect();
            let outs: Vec<Bound> = node.outputs.iter().map(get).collect();
            let scratch_descs =
                node.op.scratch(&ins.iter().map(|b| &b.desc).collect::<Vec<_>>(), &outs.iter().map(|b| &b.desc).collect::<Vec<_>>());
            let scratch = scratch_descs.iter().zip(&plan.scratch[i]).map(|(d, s)| one(d, slots[*s].clone())).collect();
            let mut cx = Lower { inputs: ins, outputs: outs, scratch, acc: node.acc.clone(), op: node.op.name(), gpu, out: &mut specs };
            node.op.lower(&mut cx)?;
        }
        let step = gpu.uniform("step", size_of::<StepParams>() as u64);
        let (dispatches, params) = bind(gpu, specs, &step);
        gpu.check()?;
        Ok(Program {
            gpu: gpu.clone(),
            dispatches,
            inputs,
            outputs,
            step,
            per_submit: Cell::new(options.per_submit.max(1)),
            slot_bytes: plan.bytes(),
            _keep: (tensors, slots, params),
        })
    }

    /// Dispatches of one replay.
    pub fn dispatches(&self) -> usize {
        self.dispatches.len()
    }

    /// Bytes of its activation slots.
    pub fn slot_bytes(&self) -> u64 {
        self.slot_bytes
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Changes the number of dispatches per submit.
    pub fn set_per_submit(&self, n: usize) {
        self.per_submit.set(n.max(1));
    }

    fn port<'a>(ports: &'a HashMap<String, Port>, name: &str) -> &'a Port {
        ports.get(name).unwrap_or_else(|| panic!("the program has no port {name}"))
    }

    /// The buffer of an input, for copies on the GPU.
    pub fn input_buf(&self, name: &str) -> Buf {
        Self::port(&self.inputs, name).buf.clone()
    }

    /// The buffer of an output, for copies on the GPU.
    pub fn output_buf(&self, name: &str) -> Buf {
        Self::port(&self.outputs, name).buf.clone()
    }

    /// True when the tape has an input of this name.
    pub fn has_input(&self, name: &str) -> bool {
        self.inputs.contains_key(name)
    }

    /// Writes an input, whole or its beginning.
    ///
    /// # Panics
    /// On an unknown name or too many values: the caller and the tape disagree.
    pub fn write<T: bytemuck::Pod>(&self, name: &str, values: &[T]) {
        let port = Self::port(&self.inputs, name);
        assert!(values.len() <= port.desc.len(), "{name}: {} values for {:?}", values.len(), port.desc.shape);
        self.gpu.write(&port.buf, 0, bytemuck::cast_slice(values));
    }

    /// Encodes and submits the whole list once.
    pub fn submit(&self, step: &StepParams) {
        self.submit_with(step, |_| ());
    }

    /// As [`Program::submit`]; `finish` may add copies behind the last dispatch.
    pub fn submit_with(&self, step: &StepParams, finish: impl FnOnce(&mut wgpu::CommandEncoder)) {
        self.gpu.write(&self.step, 0, bytemuck::bytes_of(step));
        let counters = self.gpu.counters();
        counters.dispatches.set(counters.dispatches.get() + self.dispatches.len() as u64);
        let chunks: Vec<&[Dispatch]> = self.dispatches.chunks(self.per_submit.get()).collect();
        let count = chunks.len();
        let mut finish = Some(finish);
        for (i, chunk) in chunks.into_iter().enumerate() {
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            {
                let mut pass = encoder.begin_compute_pass(&Default::default());
                for d in chunk {
                    pass.set_pipeline(&d.kernel.pipeline);
                    pass.set_bind_group(0, &d.group, &[]);
                    pass.dispatch_workgroups(d.grid[0], d.grid[1], d.grid[2]);
                }
            }
            if i + 1 == count
                && let Some(f) = finish.take()
            {
                f(&mut encoder);
            }
            self.gpu.submit(encoder);
        }
    }

    /// Submits and reads outputs (as 32-bit words) in the order of `names`.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn run(&self, step: &StepParams, names: &[&str]) -> Result<Vec<Vec<u32>>> {
        self.submit_with(step, |encoder| {
            for name in names {
                let port = Self::port(&self.outputs, name);
                let staging = port.staging.as_ref().expect("outputs have one");
                encoder.copy_buffer_to_buffer(port.buf.raw(), port.buf.offset(), staging.raw(), 0, port.buf.bytes());
            }
        });
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            let port = Self::port(&self.outputs, name);
            let staging = port.staging.as_ref().expect("outputs have one");
            let bytes = self.gpu.map(staging, port.desc.len() as u64 * 4).await?;
            out.push(bytemuck::pod_collect_to_vec(&bytes));
        }
        Ok(out)
    }

    /// As [`Program::run`] for one f32 output.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn run_f32(&self, step: &StepParams, name: &str) -> Result<Vec<f32>> {
        let words = self.run(step, &[name]).await?;
        Ok(words[0].iter().map(|w| f32::from_bits(*w)).collect())
    }

    /// Runs once with a timestamp around every dispatch (one pass each): what a replay spends its time on.
    ///
    /// # Errors
    /// [`Error::Gpu`] where the adapter has no timestamps.
    pub async fn profile(&self, step: &StepParams) -> Result<Vec<Timed>> {
        if !self.gpu.caps().timestamps {
            return Err(Error::Gpu { what: "profiling".into(), message: "this adapter has no timestamp queries".into() });
        }
        self.gpu.write(&self.step, 0, bytemuck::bytes_of(step));
        let mut out = Vec::new();
        const BATCH: usize = 1024;
        let period = f64::from(self.gpu.queue().get_timestamp_period()) * 1e-9;
        for chunk in self.dispatches.chunks(BATCH) {
            let count = chunk.len() as u32 * 2;
            let set = self.gpu.device().create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count });
            let resolve = self.gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(count) * 8,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let staging = self.gpu.staging(u64::from(count) * 8);
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            for (i, d) in chunk.iter().enumerate() {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                        query_set: &set,
                        beginning_of_pass_write_index: Some(i as u32 * 2),
                        end_of_pass_write_index: Some(i as u32 * 2 + 1),
                    }),
                });
                pass.set_pipeline(&d.kernel.pipeline);
                pass.set_bind_group(0, &d.group, &[]);
                pass.dispatch_workgroups(d.grid[0], d.grid[1], d.grid[2]);
            }
            encoder.resolve_query_set(&set, 0..count, &resolve, 0);
            encoder.copy_buffer_to_buffer(&resolve, 0, staging.raw(), 0, u64::from(count) * 8);
            self.gpu.submit(encoder);
            let bytes = self.gpu.map(&staging, u64::from(count) * 8).await?;
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
            for (i, d) in chunk.iter().enumerate() {
                out.push(Timed {
                    op: d.op,
                    kernel: d.kernel.label.clone(),
                    seconds: ticks[2 * i + 1].saturating_sub(ticks[2 * i]) as f64 * period,
                    flops: d.flops,
                    bytes: d.bytes,
                });
            }
        }
        Ok(out)
    }
}

/// Puts all constants into one uniform buffer (equal ones once) and builds the bind groups.
fn bind(gpu: &Gpu, specs: Vec<Spec>, step: &Buf) -> (Vec<Dispatch>, Buf) {
    let mut data: Vec<u8> = Vec::new();
    let mut seen: HashMap<Vec<u32>, usize> = HashMap::new();
    let mut offsets = Vec::with_capacity(specs.len());
    for s in &specs {
        let mut words = s.params.clone();
        words.resize(words.len().next_multiple_of(4).max(4), 0);
        let at = *seen.entry(words).or_insert_with_key(|words| {
            let at = data.len();
            data.extend_from_slice(bytemuck::cast_slice(words));
            data.resize(data.len().next_multiple_of(ALIGN), 0);
            at
        });
        offsets.push(at);
    }
    let params = gpu.uniform("params", data.len().max(ALIGN) as u64);
    if !data.is_empty() {
        gpu.write(&params, 0, &data);
    }
    let dispatches = specs
        .into_iter()
        .zip(offsets)
        .map(|(s, at)| {
            let size = (s.params.len().next_multiple_of(4).max(4) * 4) as u64;
            let own = params.range(at as u64, size);
            let mut bufs = s.bufs.iter();
            let entries: Vec<wgpu::BindGroupEntry<'_>> = s
                .kernel
                .bindings
                .iter()
                .enumerate()
                .map(|(i, b)| wgpu::BindGroupEntry {
                    binding: i as u32,
                    resource: match b {
                        Binding::Params => own.binding(),
                        Binding::Step => step.binding(),
                        _ => bufs.next().expect("counted in dispatch()").binding(),
                    },
                })
                .collect();
            let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&s.kernel.label),
                layout: &s.kernel.layout,
                entries: &entries,
            });
            Dispatch { group, kernel: s.kernel.clone(), grid: s.grid, op: s.op, flops: s.flops, bytes: s.bytes }
        })
        .collect();
    (dispatches, params)
}
