//! A program on a GPU: bind groups and constants built once, pipelines when they are wanted; a run encodes the list and submits it in chunks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::memory::{Memory, ProgramOptions};
use crate::counters::Counters;
use crate::gpu::preprocess::Binding;
use crate::gpu::{Buf, Gpu, Kernel, Mark};
use crate::graph::lower::{Bound, Costs, Lower, Spec};
use crate::graph::pace::{Belief, Beliefs, Pace};
use crate::graph::profile::Timed;
use crate::graph::tensor::Chunk;
use crate::graph::{Cost, Desc, Mem, Place, StepParams, Tape, Transfer, Val};
use crate::{Error, Result, clock};

struct Dispatch {
    kernel: Rc<Kernel>,
    group: wgpu::BindGroup,
    grid: [u32; 3],
    op: &'static str,
    cost: Costs,
}

pub(super) struct GpuProgram {
    gpu: Gpu,
    dispatches: Vec<Dispatch>,
    step: Buf,
    per_submit: usize,
    /// Where submits are cut by time as well: whose, and what the dispatches take.
    pace: Option<(Rc<Pace>, Beliefs)>,
    /// The constants that the bind groups refer to.
    _params: Buf,
}

const ALIGN: usize = 256;

impl GpuProgram {
    pub fn build(gpu: &Gpu, tape: &Tape, memory: &Memory, options: &ProgramOptions) -> Result<GpuProgram> {
        let one = |desc: &Desc, mem: &Mem| Bound {
            desc: desc.clone(),
            chunks: vec![Chunk { first: 0, rows: desc.rows(), buf: mem.gpu().clone() }],
        };
        let bound = |v: &Val| {
            let info = &tape.vals[v.index()];
            match &info.place {
                Place::Tensor(t) => Bound { desc: info.desc.clone(), chunks: t.chunks() },
                _ => one(&info.desc, memory.of(*v)),
            }
        };
        let mut specs: Vec<Spec> = Vec::new();
        for (i, node) in tape.nodes.iter().enumerate() {
            let ins: Vec<Bound> = node.inputs.iter().map(bound).collect();
            let outs: Vec<Bound> = node.outputs.iter().map(bound).collect();
            let descs =
                node.op.scratch(&ins.iter().map(|b| &b.desc).collect::<Vec<_>>(), &outs.iter().map(|b| &b.desc).collect::<Vec<_>>());
            let scratch = descs.iter().zip(memory.scratch(i)).map(|(d, m)| one(d, m)).collect();
            let mut cx = Lower { inputs: ins, outputs: outs, scratch, acc: node.acc.clone(), op: node.op.name(), gpu, out: &mut specs };
            node.op.lower(&mut cx)?;
        }
        let step = gpu.uniform("step", size_of::<StepParams>() as u64);
        let (dispatches, params) = bind(gpu, specs, &step);
        gpu.check()?;
        let guess = || Rc::new(RefCell::new(dispatches.iter().map(|d| Belief::guess(d.cost.most())).collect()));
        let pace = options.pace.clone().map(|pace| (pace, guess()));
        Ok(GpuProgram { gpu: gpu.clone(), dispatches, step, per_submit: options.per_submit.max(1), pace, _params: params })
    }

    pub fn len(&self) -> usize {
        self.dispatches.len()
    }

    /// As [`Gpu::compile`].
    pub async fn compile(&self) -> usize {
        self.gpu.compile(self.dispatches.iter().map(|d| &d.kernel)).await
    }

    fn begin(&self, step: &StepParams) {
        self.gpu.write(&self.step, 0, bytemuck::bytes_of(step));
        Counters::add(&self.gpu.counters().dispatches, self.dispatches.len() as u64);
    }

    /// Submits a range of the list; the copies go behind the last of all.
    fn part(&self, range: Range<usize>, behind: &[Transfer]) {
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for d in &self.dispatches[range.clone()] {
                pass.set_pipeline(d.kernel.pipeline(self.gpu.device(), self.gpu.counters()));
                pass.set_bind_group(0, &d.group, &[]);
                pass.dispatch_workgroups(d.grid[0], d.grid[1], d.grid[2]);
            }
        }
        if range.end == self.len() {
            behind.iter().for_each(|t| t.encode(&mut encoder));
        }
        self.gpu.submit(encoder);
    }

    pub fn submit(&self, step: &StepParams, behind: &[Transfer]) {
        self.begin(step);
        for at in (0..self.len()).step_by(self.per_submit) {
            self.part(at..(at + self.per_submit).min(self.len()), behind);
        }
    }

    /// As [`GpuProgram::submit`], at the program's pace if it has one.
    pub async fn replay(&self, step: &StepParams, behind: &[Transfer]) {
        let Some((pace, costs)) = &self.pace else { return self.submit(step, behind) };
        self.begin(step);
        let (mut at, mut flight, mut begun) = (0, 0, 0.0);
        while at < self.len() {
            pace.room(&self.gpu).await;
            if at == flight {
                begun = clock::seconds();
            }
            let end = at + pace.cut(&costs.borrow()[at..], self.per_submit);
            self.part(at..end, behind);
            if pace.submitted(&self.gpu, costs, flight..end, begun, end == self.len()) {
                flight = end;
            }
            at = end;
        }
    }

    /// Launches each kernel that [`GpuProgram::launch_fresh`] has not launched before, once.
    pub fn launch_fresh(&self, step: &StepParams) {
        let fresh: Vec<&Dispatch> = self.dispatches.iter().filter(|d| d.kernel.first_launch()).collect();
        if fresh.is_empty() {
            return;
        }
        self.gpu.write(&self.step, 0, bytemuck::bytes_of(step));
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for d in fresh {
                pass.set_pipeline(d.kernel.pipeline(self.gpu.device(), self.gpu.counters()));
                pass.set_bind_group(0, &d.group, &[]);
                pass.dispatch_workgroups(d.grid[0], d.grid[1], d.grid[2]);
            }
        }
        self.gpu.submit(encoder);
    }

    /// A timestamp around every dispatch (one pass each).
    pub async fn profile(&self, step: &StepParams) -> Result<Vec<Timed>> {
        if !self.gpu.caps().timestamps {
            return Err(Error::Gpu { what: "profiling".into(), message: "this adapter has no timestamp queries".into() });
        }
        let mut costs = self.costs().await?.into_iter();
        self.gpu.write(&self.step, 0, bytemuck::bytes_of(step));
        let (mut out, mut start) = (Vec::new(), None);
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
                pass.set_pipeline(d.kernel.pipeline(self.gpu.device(), self.gpu.counters()));
                pass.set_bind_group(0, &d.group, &[]);
                pass.dispatch_workgroups(d.grid[0], d.grid[1], d.grid[2]);
            }
            encoder.resolve_query_set(&set, 0..count, &resolve, 0);
            encoder.copy_buffer_to_buffer(&resolve, 0, staging.raw(), 0, u64::from(count) * 8);
            self.gpu.submit(encoder);
            let bytes = self.gpu.map(&staging, u64::from(count) * 8, &Mark::default()).await?;
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
            let first = *start.get_or_insert(ticks[0]);
            for (i, d) in chunk.iter().enumerate() {
                out.push(Timed {
                    op: d.op,
                    kernel: d.kernel.label().to_string(),
                    begin: ticks[2 * i].saturating_sub(first) as f64 * period,
                    seconds: ticks[2 * i + 1].saturating_sub(ticks[2 * i]) as f64 * period,
                    cost: costs.next().unwrap_or_default(),
                });
            }
        }
        Ok(out)
    }

    /// What each dispatch costs with what its inputs hold now.
    async fn costs(&self) -> Result<Vec<Cost>> {
        // Nearly all that ask read the same few buffers.
        let mut read: Vec<(&Buf, Vec<u32>)> = Vec::new();
        let mut out = Vec::with_capacity(self.dispatches.len());
        for d in &self.dispatches {
            out.push(match &d.cost {
                Costs::Known(cost) => *cost,
                Costs::Of(buf, _, cost) => {
                    let same = |r: &&(&Buf, Vec<u32>)| r.0.same_buffer(buf) && (r.0.offset(), r.0.bytes()) == (buf.offset(), buf.bytes());
                    if let Some((_, words)) = read.iter().find(same) {
                        cost(words)
                    } else {
                        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&self.gpu.read(buf, 0, buf.bytes()).await?);
                        let cost = cost(&words);
                        read.push((buf, words));
                        cost
                    }
                }
            });
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
                label: Some(s.kernel.label()),
                layout: &s.kernel.layout,
                entries: &entries,
            });
            Dispatch { group, kernel: s.kernel.clone(), grid: s.grid, op: s.op, cost: s.cost }
        })
        .collect();
    (dispatches, params)
}
