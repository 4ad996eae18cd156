//! The types of elements.

/// Element type of a tensor, on disk and on the GPU. What is known of each is in [`STORED`](super::packing::STORED), in this order.
#[allow(non_camel_case_types)] // as the field writes them
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    F32,
    F16,
    BF16,
    /// 32-bit unsigned integers: token ids, positions, row tables.
    U32,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
}
