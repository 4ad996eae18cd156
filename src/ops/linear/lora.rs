//! Which rows of a fused weight a LoRA product belongs to, and where its x·Aᵀ comes from.

/// The LoRA product of one group of output rows of a (possibly fused) weight:
/// `y[:, row0..row1] += step.lora · scale · h[:, h_off..h_off + r] · Bᵀ`, B (row1 − row0, r) row-major at `b_off` of the flat B tensor.
/// Every column of h belongs to one segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraSeg {
    pub row0: usize,
    pub row1: usize,
    pub h_off: usize,
    pub r: usize,
    pub b_off: usize,
    /// `lora_alpha / r`, or `lora_alpha / √r` with `use_rslora`.
    pub scale: f32,
}

/// Most segments one linear may have (q, k, v and one to spare).
pub const MAX_SEGS: usize = 4;

/// Where the h = x·Aᵀ of a LoRA product comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Low {
    /// It is an input: what is multiplied by A is not x itself (a dropout lies between).
    Given,
    /// The op multiplies x by A, an input (R, K), and gives h as its second output. Its backward pass is two dispatches in place of five.
    Made,
}
