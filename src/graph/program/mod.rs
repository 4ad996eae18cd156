//! A recorded tape made ready for one executor: memory assigned, bind groups built and pipelines compiled once; a replay writes inputs and one small
//! uniform and submits. Nothing is allocated on the second step.

mod cpu;
mod gpu;
mod memory;

use std::collections::HashMap;

use cpu::CpuProgram;
use gpu::GpuProgram;
use memory::Memory;
pub use memory::{ProgramOptions, SlotPool};

use super::profile::{Layout, Profile};
use super::{Desc, Exec, Mark, Mem, Place, Plan, StepParams, Tape, Tensor, Transfer};
use crate::{Result, clock};

struct Port {
    mem: Mem,
    desc: Desc,
    /// For outputs: a mappable twin.
    staging: Option<Mem>,
}

enum Runner {
    Gpu(GpuProgram),
    Cpu(CpuProgram),
}

/// What a program will allocate beside the tensors that its tape names.
pub struct Needs {
    /// Bytes of its slots, largest first.
    pub slots: Vec<u64>,
    /// Bytes of its inputs and outputs, of what reads them, and of constants.
    pub ports: u64,
    /// Bytes of the largest buffer among all of these.
    pub largest: u64,
}

/// Bytes of constants of a node on a GPU: about every second one has numbers that no other has.
const CONSTANTS: u64 = 160;

/// See the module.
pub struct Program {
    exec: Exec,
    runner: Runner,
    inputs: HashMap<String, Port>,
    outputs: HashMap<String, Port>,
    layout: Layout,
    /// Tensors and slots that the runner refers to.
    _keep: (Vec<Tensor>, Memory),
}

impl Program {
    /// Plans the tape and builds everything a replay needs but pipelines, for which there is [`Program::compile`].
    ///
    /// # Errors
    /// From the ops' lowering, or when the device refuses a buffer.
    pub fn build(exec: &Exec, tape: &Tape, options: ProgramOptions) -> Result<Program> {
        Self::build_in(exec, tape, options, &SlotPool::default())
    }

    /// As [`Program::build`], with slots from a pool. Programs of one pool overwrite each other's temporaries: each replay must be
    /// complete before the next begins, which one queue guarantees.
    ///
    /// # Errors
    /// As [`Program::build`].
    pub fn build_in(exec: &Exec, tape: &Tape, options: ProgramOptions, pool: &SlotPool) -> Result<Program> {
        exec.need_device("a program")?;
        let plan = Plan::on(exec, tape);
        let slots = pool.take(exec, &plan.slots.iter().map(|s| s.bytes).collect::<Vec<_>>())?;
        let mut inputs = HashMap::new();
        let mut outputs = HashMap::new();
        let mut tensors = Vec::new();
        let mut vals: Vec<Option<Mem>> = Vec::with_capacity(tape.vals.len());
        for (i, info) in tape.vals.iter().enumerate() {
            let bytes = info.desc.gpu_bytes();
            vals.push(match &info.place {
                Place::Slot => plan.of[i].map(|s| slots[s].clone()),
                Place::Input(name) => {
                    let mem = exec.storage(name, bytes)?;
                    inputs.insert(name.clone(), Port { mem: mem.clone(), desc: info.desc.clone(), staging: None });
                    Some(mem)
                }
                Place::Output(name) => {
                    let mem = exec.storage(name, bytes)?;
                    let staging = Some(exec.staging(bytes)?);
                    outputs.insert(name.clone(), Port { mem: mem.clone(), desc: info.desc.clone(), staging });
                    Some(mem)
                }
                Place::Tensor(t) => {
                    tensors.push(t.clone());
                    exec.cpu().map(|_| t.mem())
                }
            });
        }
        let layout = Layout::new(tape, &plan);
        let memory = Memory { vals, slots, scratch: plan.scratch };
        let runner = match exec {
            Exec::Gpu(gpu) => Runner::Gpu(GpuProgram::build(gpu, tape, &memory, &options)?),
            Exec::Cpu(cpu) => Runner::Cpu(CpuProgram::build(cpu, tape, &memory)),
            Exec::Reference => unreachable!("refused above"),
        };
        Ok(Program { exec: exec.clone(), runner, inputs, outputs, layout, _keep: (tensors, memory) })
    }

    /// What [`Program::build_in`] will allocate.
    pub fn needs(exec: &Exec, tape: &Tape) -> Needs {
        let mut slots: Vec<u64> = Plan::on(exec, tape).slots.iter().map(|s| exec.rounded(s.bytes)).collect();
        slots.sort_unstable_by_key(|bytes| std::cmp::Reverse(*bytes));
        let constants = if exec.gpu().is_some() { tape.nodes.len() as u64 * CONSTANTS } else { 0 };
        let (mut ports, mut largest) = (constants, slots.first().copied().unwrap_or(0));
        for info in &tape.vals {
            let bytes = exec.rounded(info.desc.gpu_bytes());
            let copies = match info.place {
                Place::Slot | Place::Tensor(_) => 0,
                Place::Input(_) => 1,
                // And what the host reads.
                Place::Output(_) => 2,
            };
            ports += copies * bytes;
            largest = largest.max(copies.min(1) * bytes);
        }
        Needs { slots, ports, largest }
    }

    /// Compiles the kernels that no program has compiled yet, side by side: in the browser's own threads, or in threads of this call. What
    /// is not compiled ahead is compiled one by one at the first submit. Nothing on the processor. Returns how many shared the time.
    ///
    /// # Errors
    /// As [`Program::check`].
    pub async fn compile(&self) -> Result<usize> {
        let ahead = match &self.runner {
            Runner::Gpu(p) => p.compile().await,
            Runner::Cpu(_) => 0,
        };
        self.check()?;
        Ok(ahead)
    }

    /// Dispatches of one replay; on the processor, operations.
    pub fn dispatches(&self) -> usize {
        match &self.runner {
            Runner::Gpu(p) => p.len(),
            Runner::Cpu(p) => p.len(),
        }
    }

    /// Bytes of its activation slots.
    pub fn slot_bytes(&self) -> u64 {
        self.layout.bytes()
    }

    pub fn exec(&self) -> &Exec {
        &self.exec
    }

    fn port<'a>(ports: &'a HashMap<String, Port>, name: &str) -> &'a Port {
        ports.get(name).unwrap_or_else(|| panic!("the program has no port {name}"))
    }

    /// The memory of an input, for copies on the device.
    pub fn input_mem(&self, name: &str) -> Mem {
        Self::port(&self.inputs, name).mem.clone()
    }

    /// The memory of an output, for copies on the device.
    pub fn output_mem(&self, name: &str) -> Mem {
        Self::port(&self.outputs, name).mem.clone()
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
        self.exec.write(&port.mem, 0, bytemuck::cast_slice(values));
    }

    /// Submits the whole list once. On the processor it has run when this returns.
    pub fn submit(&self, step: &StepParams) {
        self.submit_then(step, &[]);
    }

    /// As [`Program::submit`], with copies behind the last operation.
    pub fn submit_then(&self, step: &StepParams, behind: &[Transfer]) {
        match &self.runner {
            Runner::Gpu(p) => p.submit(step, behind),
            Runner::Cpu(p) => {
                p.run(step);
                behind.iter().for_each(Transfer::copy);
            }
        }
    }

    /// As [`Program::submit_then`], at the program's [`super::Pace`] where it has one: in submits of about as many seconds as that aims at, of which no more
    /// than two wait for the device. Natively the thread waits, in a browser the event loop turns meanwhile.
    pub async fn replay(&self, step: &StepParams, behind: &[Transfer]) {
        match &self.runner {
            Runner::Gpu(p) => p.replay(step, behind).await,
            Runner::Cpu(_) => self.submit_then(step, behind),
        }
    }

    /// Launches what kernels of it no program has launched this way before, each once and not in a way that computes anything: drivers finish
    /// compiling at the first launch. The caller sees to inputs with which nothing is changed in place. Nothing on the processor.
    pub fn launch_fresh(&self, step: &StepParams) {
        if let Runner::Gpu(p) = &self.runner {
            p.launch_fresh(step);
        }
    }

    /// What the device, or the last run, reported.
    ///
    /// # Errors
    /// As [`Exec::check`]; on the processor, what an operation refused.
    pub fn check(&self) -> Result<()> {
        match &self.runner {
            Runner::Gpu(_) => self.exec.check(),
            Runner::Cpu(p) => p.check(),
        }
    }

    /// Submits and reads outputs (as 32-bit words) in the order of `names`.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn run(&self, step: &StepParams, names: &[&str]) -> Result<Vec<Vec<u32>>> {
        let ports: Vec<(&Port, &Mem)> = names
            .iter()
            .map(|name| {
                let port = Self::port(&self.outputs, name);
                (port, port.staging.as_ref().expect("outputs have one"))
            })
            .collect();
        self.compile().await?;
        let copies: Vec<Transfer> = ports.iter().map(|(p, staging)| Transfer::new(&p.mem, staging, 0, p.mem.bytes())).collect();
        self.replay(step, &copies).await;
        self.check()?;
        let mut out = Vec::with_capacity(names.len());
        for (port, staging) in ports {
            let bytes = self.exec.map(staging, port.desc.len() as u64 * 4, &Mark::default()).await?;
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

    /// Runs a few times: as always, and with a timer around every operation. What the replay changes in place it changes each time.
    ///
    /// # Errors
    /// [`crate::Error::Gpu`] where the adapter has no timestamps.
    pub async fn profile(&self, step: &StepParams) -> Result<Profile> {
        const RUNS: usize = 5;
        let (mut walls, mut spent) = (Vec::new(), [0; 3]);
        for run in 0..=RUNS {
            let counts = || {
                let c = self.exec.counters();
                [c.dispatches.get(), c.submits.get(), c.allocations.get()]
            };
            self.exec.done().await?;
            let (begin, before) = (clock::seconds(), counts());
            self.submit(step);
            let after = counts();
            self.exec.done().await?;
            self.check()?;
            // The first run warms up.
            if run > 0 {
                walls.push(clock::seconds() - begin);
            }
            spent = [0, 1, 2].map(|i| after[i] - before[i]);
            // Of what takes long, fewer runs say enough.
            if walls.iter().sum::<f64>() > 2.0 {
                break;
            }
        }
        walls.sort_by(f64::total_cmp);
        let timed = match &self.runner {
            Runner::Gpu(p) => p.profile(step).await?,
            Runner::Cpu(p) => p.profile(step)?,
        };
        let [dispatches, submits, allocations] = spent;
        Ok(Profile { timed, wall: walls[walls.len() / 2], dispatches, submits, allocations, layout: self.layout.clone() })
    }
}
