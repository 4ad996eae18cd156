//! The op trait, the tape, the reverse loop, the planner and the executors of one tape: WGSL kernels on a GPU, f32 kernels on the
//! processor, and the f64 reference of the tests.

mod backward;
mod cpu_io;
mod exec;
mod halves;
mod host;
mod lower;
mod op;
mod pace;
mod plan;
mod profile;
mod program;
mod step;
mod tape;
mod tensor;

pub use crate::gpu::Mark;
pub use backward::Back;
pub use cpu_io::CpuIo;
pub use exec::{DeviceInfo, Exec, Mem, Transfer};
pub use host::{HostIo, HostProgram, identity};
pub use lower::{Bound, Lower};
pub use op::Op;
pub use pace::Pace;
pub use plan::{Plan, Slot};
pub use profile::{Cost, KernelSum, Layout, Life, Profile, Timed};
pub use program::{Program, ProgramOptions, SlotPool};
pub use step::StepParams;
pub use tape::{Node, Place, Tape, Val};
pub use tensor::{Arena, Chunk, Desc, Tensor, gpu_row_bytes, pack_rows};
