//! linear with everything it can add, its backward passes, every weight type and every kernel variant.

use crate::harness::{gpu, gpu_with};
use crate::opcase::{In, Rng, check, frozen, packed, rand};
use fledgling::gpu::{Gpu, GpuOptions};
use fledgling::ops::Act;
use fledgling::ops::linear::{Linear, LoraSeg};
use fledgling::tensor::DType;

/// A random weight of any file type with values of order `scale`.
pub fn weight(rng: &mut Rng, dtype: DType, n: usize, k: usize, scale: f64) -> In {
    let mut bytes = Vec::new();
    let half = |v: f64| half::f16::from_f64(v).to_le_bytes();
    match dtype {
        DType::F32 => return frozen(rng, &[n, k], scale),
        DType::F16 => (0..n * k).for_each(|_| bytes.extend(half(rng.uniform() * scale))),
        DType::BF16 => (0..n * k).for_each(|_| bytes.extend(half::bf16::from_f64(rng.uniform() * scale).to_le_bytes())),
        _ => {
            for _ in 0..n * k / 32 {
                let top = if dtype == DType::Q8_0 { 127.0 } else { 8.0 };
                bytes.extend(half((0.5 + 0.5 * rng.uniform()) * scale / top));
                if dtype == DType::Q4_1 {
                    bytes.extend(half(-scale * (0.6 + 0.4 * rng.uniform())));
                }
                (0..if dtype == DType::Q8_0 { 32 } else { 16 }).for_each(|_| bytes.push(rng.next() as u8));
            }
        }
    }
    packed(dtype, &[n, k], bytes)
}

const TYPES: [DType; 6] = [DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q4_1, DType::Q8_0];

async fn all_types(gpu: &Gpu, what: &str) {
    let mut rng = Rng(3);
    for dtype in TYPES {
        for (m, n, k) in [(1, 5, 32), (3, 33, 64), (8, 70, 96), (65, 67, 160)] {
            let ins = [rand(&mut rng, &[m, k], 1.0), weight(&mut rng, dtype, n, k, 1.0)];
            check(gpu, &format!("{what} {} {m}×{n}×{k}", dtype.name()), &ins, 2e-5, |t, v| {
                Ok(vec![t.push1(Linear::plain(), &[v[0], v[1]])?])
            })
            .await;
        }
    }
}

fl_test!(
    async fn linear_of_every_weight_type() {
        all_types(&gpu().await, "linear").await;
    }
);

fl_test!(
    async fn linear_in_every_variant() {
        for variant in ["reg8x8", "reg4x4", "reg8x4", "reg8x2", "reg1x1", "tile", "vec", "vecsub"] {
            let kernels = format!("linear={variant},linear_dx={}", if variant == "tile" { "tile" } else { "reg4" });
            let gpu = gpu_with(&GpuOptions { kernels: Some(kernels), ..Default::default() }).await;
            all_types(&gpu, variant).await;
            everything(&gpu, variant).await;
        }
    }
);

fl_test!(
    async fn linear_trains_plain_weights_of_odd_sizes() {
        let gpu = gpu().await;
        let mut rng = Rng(4);
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (9, 65, 33), (17, 8, 24), (2, 3, 1757)] {
            let ins = [rand(&mut rng, &[m, k], 1.0), rand(&mut rng, &[n, k], 1.0), rand(&mut rng, &[n], 1.0)];
            check(&gpu, &format!("linear {m}×{n}×{k} with bias"), &ins, 3e-5, |t, v| {
                Ok(vec![t.push1(Linear { bias: true, ..Linear::default() }, v)?])
            })
            .await;
        }
    }
);

/// Bias, two LoRA segments of unequal rank over a fused weight, residual; then the gated form.
async fn everything(gpu: &Gpu, what: &str) {
    let mut rng = Rng(5);
    for m in [1, 4, 19] {
        let (n, k) = (40, 64);
        let segs = vec![
            LoraSeg { row0: 0, row1: 24, h_off: 0, r: 3, b_off: 0, scale: 2.0 },
            LoraSeg { row0: 32, row1: 40, h_off: 3, r: 9, b_off: 72, scale: 0.5 },
        ];
        let ins = [
            rand(&mut rng, &[m, k], 1.0),
            weight(&mut rng, DType::Q4_1, n, k, 1.0),
            rand(&mut rng, &[n], 1.0),
            rand(&mut rng, &[12, k], 0.3),
            rand(&mut rng, &[1, 144], 0.3),
            rand(&mut rng, &[m, n], 1.0),
        ];
        check(gpu, &format!("{what}: everything, {m} rows"), &ins, 3e-5, |t, v| {
            let h = t.push1(Linear::plain(), &[v[0], v[3]])?;
            let op = Linear { segs: segs.clone(), bias: true, lora: true, residual: true, glu: None };
            Ok(vec![t.push1(op, &[v[0], v[1], v[2], h, v[4], v[5]])?])
        })
        .await;
        let gated: Vec<In> = ins[..5].iter().map(|i| In { grad: false, ..i.clone() }).collect();
        for act in [Act::Silu, Act::Gelu, Act::GeluTanh, Act::Relu] {
            check(gpu, &format!("{what}: gated {act:?}, {m} rows"), &gated, 3e-5, |t, v| {
                let h = t.push1(Linear::plain(), &[v[0], v[3]])?;
                let op = Linear { segs: segs.clone(), bias: true, lora: true, residual: false, glu: Some(act) };
                Ok(vec![t.push1(op, &[v[0], v[1], v[2], h, v[4]])?])
            })
            .await;
        }
    }
}

fl_test!(
    async fn linear_with_everything() {
        everything(&gpu().await, "linear").await;
    }
);

fl_test!(
    async fn variants_are_measured_and_remembered() {
        let gpu = gpu_with(&GpuOptions::default()).await;
        fledgling::ops::calibrate::calibrate(&gpu).await.expect("measures");
        let measured = gpu.tuning().borrow().measured().clone();
        report!("chosen on {}: {measured:?}", gpu.caps().name);
        assert_eq!(measured.len(), 5);
        let again = gpu_with(&GpuOptions::default()).await;
        again.tuning().borrow_mut().restore(measured);
        let before = again.counters().pipelines.get();
        fledgling::ops::calibrate::calibrate(&again).await.expect("nothing to do");
        assert_eq!(again.counters().pipelines.get(), before, "what is remembered is not measured again");
    }
);
