//! The one small uniform that changes between replays.

/// Written before every replay; bound as `step` by the kernels that ask for it (`shaders/common/step.wgsl`).
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub struct StepParams {
    /// Optimizer step, from 1 (bias correction of AdamW), or decode step.
    pub step: u32,
    /// Random seed; kernels mix it with their own salt and `counter`.
    pub seed: u32,
    /// Second half of the random stream: micro-batch or token counter.
    pub counter: u32,
    /// Rows of the batch that are real.
    pub rows: u32,
    /// Multiplies every LoRA product: 1 with the adapter, 0 for the base model (the reference policy).
    pub lora: f32,
    pub learning_rate: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    /// `1 − beta1^step`, `1 − beta2^step`: computed in f64 on the host.
    pub correction1: f32,
    pub correction2: f32,
    /// Gradients are multiplied by this before clipping (1 / accumulation steps).
    pub grad_scale: f32,
    /// Clipping threshold of the global norm; 0 = no clipping.
    pub max_grad_norm: f32,
    pub temperature: f32,
    pub top_p: f32,
    pub min_p: f32,
    pub repetition_penalty: f32,
    pub top_k: u32,
    /// Unused: keeps the struct a multiple of 16 bytes.
    pub spare: [u32; 2],
}

impl Default for StepParams {
    fn default() -> Self {
        StepParams {
            step: 1,
            seed: 0,
            counter: 0,
            rows: 0,
            lora: 1.0,
            learning_rate: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            correction1: 1.0,
            correction2: 1.0,
            grad_scale: 1.0,
            max_grad_norm: 0.0,
            temperature: 0.0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            top_k: 0,
            spare: [0; 2],
        }
    }
}
