//! The op trait, the tape, the reverse loop, the planner and the two executors of one tape.

mod backward;
mod host;
mod lower;
mod op;
mod plan;
mod program;
mod step;
mod tape;
mod tensor;

pub use backward::Back;
pub use host::{HostIo, HostProgram, identity};
pub use lower::{Bound, Lower};
pub use op::Op;
pub use plan::{Plan, Slot};
pub use program::{Program, ProgramOptions, SlotPool, Timed};
pub use step::StepParams;
pub use tape::{Node, Place, Tape, Val};
pub use tensor::{Arena, Chunk, Desc, Exec, Tensor, gpu_row_bytes, pack_rows};
