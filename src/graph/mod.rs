//! The op trait, the tape, the reverse loop, the planner and the executors of one tape: WGSL kernels on a GPU, f32 kernels on the
//! processor, and the f64 reference of the tests.

mod backward;
mod cost;
mod cpu_io;
mod exec;
mod halves;
mod host;
mod host_io;
mod lower;
mod pace;
mod plan;
mod profile;
mod program;
mod step;
mod tape;
mod tensor;

pub use crate::gpu::Mark;
pub use cost::Cost;
pub use cpu_io::CpuIo;
pub use exec::{DeviceInfo, Exec, Limits, Mem, Transfer};
pub use host::{HostProgram, identity};
pub use host_io::HostIo;
pub use lower::{Bound, Lower};
pub use pace::Pace;
pub use plan::{Plan, Slot};
pub use profile::{KernelSum, Layout, Life, Profile, Timed};
pub use program::{Needs, Program, ProgramOptions, SlotPool};
pub use step::StepParams;
pub use tape::{Back, Node, Op, Place, Tape, Val};
pub use tensor::{Arena, Chunk, Desc, Tensor};
