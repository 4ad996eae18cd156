//! linear with everything it can add, its backward passes, every weight type and every kernel variant.

use crate::fixture;
use crate::harness::{gpu, gpu_with};
use crate::opcase::{In, Rng, check, frozen, packed, rand};
use fledgling::device::variants::CLASSES;
use fledgling::gpu::{Gpu, GpuOptions};
use fledgling::graph::{Exec, Tape, Tensor, Val};
use fledgling::ops::Act;
use fledgling::ops::linear::quads;
use fledgling::ops::linear::{Linear, LoraSeg, Low};
use fledgling::ops::norm::RmsNorm;
use fledgling::tensor::packing::noise;
use fledgling::tensor::{DType, quantize};

/// A random weight of any file type with values of order `scale`.
pub fn weight(rng: &mut Rng, dtype: DType, n: usize, k: usize, scale: f64) -> In {
    let halves = |rng: &mut Rng| (0..n * k).map(|_| (rng.uniform() * scale) as f32).collect::<Vec<_>>();
    match dtype {
        DType::F32 => frozen(rng, &[n, k], scale),
        DType::F16 | DType::BF16 => packed(dtype, &[n, k], quantize(dtype, &halves(rng))),
        _ => packed(dtype, &[n, k], noise(dtype, n * k / dtype.block_len(), rng.next(), scale as f32)),
    }
}

const TYPES: [DType; 6] = [DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q4_1, DType::Q8_0];

async fn all_types(gpu: &Gpu, what: &str) {
    let mut rng = Rng(3);
    for dtype in TYPES {
        for (m, n, k) in [(1, 5, 32), (3, 33, 64), (8, 70, 96), (65, 67, 160), (70, 8, 64)] {
            let ins = [rand(&mut rng, &[m, k], 1.0), weight(&mut rng, dtype, n, k, 1.0)];
            check(gpu, &format!("{what} {} {m}×{n}×{k}", dtype.name()), &ins, 2e-5, |t, v| {
                Ok(vec![t.push1(Linear::plain(), &[v[0], v[1]])?])
            })
            .await;
        }
    }
    // The largest and smallest integers throughout: sums of them are as large as they can be.
    for (dtype, head, byte) in
        [(DType::Q4_0, 2, 0xff), (DType::Q4_0, 2, 0), (DType::Q4_1, 4, 0xff), (DType::Q8_0, 2, 0x80), (DType::Q8_0, 2, 0x7f)]
    {
        let (m, n, k) = (1, 5, 64);
        let block: Vec<u8> = (0..dtype.block_bytes()).map(|i| if i < head { [0x00, 0x2c][i % 2] } else { byte }).collect();
        let ins = [rand(&mut rng, &[m, k], 1.0), packed(dtype, &[n, k], block.repeat(n * k / 32))];
        check(gpu, &format!("{what} {} of {byte:#x}", dtype.name()), &ins, 2e-5, |t, v| Ok(vec![t.push1(Linear::plain(), &[v[0], v[1]])?]))
            .await;
    }
}

fl_test!(
    async fn linear_of_every_weight_type() {
        all_types(&gpu().await, "linear").await;
    }
);

fl_test!(
    async fn linear_in_every_variant() {
        // A browser's software adapter takes seconds for every one of these kernels, and for those with barriers more: there it is the forms
        // that are chosen there, and of those for real GPUs what `other_form` (in which every case runs) has not: subgroups, on one row.
        let browser = cfg!(target_arch = "wasm32");
        let software: &[&str] = if browser {
            &["reg8x8", "reg8x2", "block16"]
        } else {
            &["reg8x8", "reg4x4", "reg8x4", "reg8x2", "reg1x1", "block16", "block8"]
        };
        let hardware: &[&str] = if browser { &[] } else { &["tile", "tile8x8", "vec", "vecsub", "vec4x8"] };
        for variant in software.iter().chain(hardware) {
            // What a browser's software adapter without subgroups takes, for training, too: with them it takes `quad8` by itself.
            let plain = browser && *variant == "reg8x8";
            let dx = if variant.starts_with("tile") { *variant } else { ["reg4", "reg8"][usize::from(plain)] };
            let kernels = format!("linear={variant},linear_dx={dx},linear_dw=reg8");
            let gpu = gpu_with(&GpuOptions { kernels: Some(kernels), ..Default::default() }).await;
            if plain {
                all_types(&gpu, variant).await;
                trained(&gpu, variant).await;
            } else if browser {
                normed(&gpu, variant).await;
            } else {
                all_types(&gpu, variant).await;
                normed(&gpu, variant).await;
                // The gradients' kernels are the same few for all of these.
                if ["reg8x8", "block16", "tile", "tile8x8", "vec"].contains(variant) {
                    everything(&gpu, variant).await;
                    trained(&gpu, variant).await;
                }
            }
        }
        let gpu = gpu_with(&GpuOptions { kernels: Some("linear=vecsub".into()), ..Default::default() }).await;
        let mut rng = Rng(6);
        let ins = [rand(&mut rng, &[1, 64], 1.0), weight(&mut rng, DType::Q4_1, 33, 64, 1.0)];
        check(&gpu, "vecsub 1×33×64", &ins, 2e-5, |t, v| Ok(vec![t.push1(Linear::plain(), &[v[0], v[1]])?])).await;
    }
);

fl_test!(
    /// Where threads run four side by side they share what they load, in all three products: few rows, some and many, the last tiles not full.
    async fn four_side_by_side_share_what_they_load() {
        let gpu = gpu_with(&GpuOptions::default()).await;
        let mut rng = Rng(12);
        for (m, n, k) in [(5, 35, 40), (12, 9, 64), (35, 13, 72)] {
            let ins = [rand(&mut rng, &[m, k], 1.0), rand(&mut rng, &[n, k], 1.0)];
            check(&gpu, &format!("four share {m}×{n}×{k}"), &ins, 3e-5, |t, v| Ok(vec![t.push1(Linear::plain(), v)?])).await;
        }
        let used = gpu.kernels();
        let four = quads(&gpu) && gpu.caps().is_software;
        for kernel in ["linear_quad", "linear_dx_quad", "linear_dw[ACC,QUAD", "linear_dw[QUAD"] {
            assert_eq!(used.iter().any(|l| l.starts_with(kernel)), four, "{kernel}: {used:?}");
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
            let op = Linear { segs: segs.clone(), bias: true, lora: Some(Low::Given), residual: true, ..Linear::default() };
            Ok(vec![t.push1(op, &[v[0], v[1], v[2], h, v[4], v[5]])?])
        })
        .await;
        let gated: Vec<In> = ins[..5].iter().map(|i| In { grad: false, ..i.clone() }).collect();
        for act in [Act::Silu, Act::Gelu, Act::GeluTanh, Act::Relu] {
            check(gpu, &format!("{what}: gated {act:?}, {m} rows"), &gated, 3e-5, |t, v| {
                let h = t.push1(Linear::plain(), &[v[0], v[3]])?;
                let op = Linear { segs: segs.clone(), bias: true, lora: Some(Low::Given), glu: Some(act), ..Linear::default() };
                Ok(vec![t.push1(op, &[v[0], v[1], v[2], h, v[4]])?])
            })
            .await;
        }
    }
}

/// LoRA as a training takes it: the op multiplies x by A itself, and its backward pass makes dx, dA, dB together. With bias and residual over
/// a frozen weight, and gated with gate and up kept.
async fn trained(gpu: &Gpu, what: &str) {
    let mut rng = Rng(7);
    for (m, k, dtype) in [(1, 64, DType::Q4_1), (19, 64, DType::Q4_1), (21, 96, DType::Q8_0), (19, 13, DType::F32), (70, 160, DType::F32)] {
        let n = 40;
        let segs = vec![
            LoraSeg { row0: 0, row1: 24, h_off: 0, r: 3, b_off: 0, scale: 2.0 },
            LoraSeg { row0: 32, row1: 40, h_off: 3, r: 18, b_off: 72, scale: 0.5 },
        ];
        let ins = [
            rand(&mut rng, &[m, k], 1.0),
            weight(&mut rng, dtype, n, k, 1.0),
            rand(&mut rng, &[n], 1.0),
            rand(&mut rng, &[21, k], 0.3),
            rand(&mut rng, &[1, 216], 0.3),
            rand(&mut rng, &[m, n], 1.0),
        ];
        let lora = Linear { segs: segs.clone(), bias: true, lora: Some(Low::Made), ..Linear::default() };
        let name = format!("{what}: {m}×{n}×{k} {}", dtype.name());
        let op = Linear { residual: true, ..lora.clone() };
        check(gpu, &format!("{name}, LoRA"), &ins, 3e-5, |t, v| Ok(t.push(op.clone(), v)?[..1].to_vec())).await;
        for act in [Act::Silu, Act::Gelu] {
            let op = Linear { glu: Some(act), keep: true, ..lora.clone() };
            check(gpu, &format!("{name}, gated {act:?}"), &ins[..5], 3e-5, |t, v| Ok(t.push(op.clone(), v)?[..1].to_vec())).await;
        }
        // The first layer of a model: x needs no gradient, A and B do.
        let still = ins.clone().map(|i| In { grad: i.grad && i.desc.shape != [m, k], ..i });
        let op = Linear { residual: true, ..lora };
        check(gpu, &format!("{name}, x frozen"), &still, 3e-5, |t, v| Ok(t.push(op.clone(), v)?[..1].to_vec())).await;
    }
}

fl_test!(
    async fn linear_in_training() {
        trained(&gpu().await, "trained").await;
    }
);

fl_test!(
    async fn linear_with_everything() {
        everything(&gpu().await, "linear").await;
    }
);

fl_test!(
    /// Gated layers are for answers only: every weight type, with and without bias and LoRA, for one row, a few and many.
    async fn gated_linear_of_every_weight_type() {
        let gpu = gpu().await;
        let mut rng = Rng(6);
        let (n, k) = (22, 64);
        let segs = vec![LoraSeg { row0: 5, row1: 22, h_off: 0, r: 3, b_off: 0, scale: 2.0 }];
        for dtype in TYPES {
            for (m, bias, lora) in [(1, false, false), (3, true, false), (8, false, true), (11, true, true)] {
                let mut ins = vec![frozen(&mut rng, &[m, k], 1.0), weight(&mut rng, dtype, n, k, 1.0)];
                if bias {
                    ins.push(frozen(&mut rng, &[n], 1.0));
                }
                if lora {
                    ins.extend([frozen(&mut rng, &[3, k], 0.3), frozen(&mut rng, &[1, 51], 0.3)]);
                }
                let what = format!("gated {} of {m} rows, bias {bias}, LoRA {lora}", dtype.name());
                check(&gpu, &what, &ins, 3e-5, |t, v| {
                    let mut v = v.to_vec();
                    if lora {
                        let a = 2 + usize::from(bias);
                        v[a] = t.push1(Linear::plain(), &[v[0], v[a]])?;
                    }
                    let segs = if lora { segs.clone() } else { Vec::new() };
                    Ok(vec![
                        t.push1(Linear { segs, bias, lora: lora.then_some(Low::Given), glu: Some(Act::Silu), ..Linear::default() }, &v)?,
                    ])
                })
                .await;
            }
        }
    }
);

/// A norm on the way in: with everything that can be added, gated, for one row, a few and many.
async fn normed(gpu: &Gpu, what: &str) {
    let mut rng = Rng(8);
    let segs = vec![LoraSeg { row0: 5, row1: 22, h_off: 0, r: 3, b_off: 0, scale: 2.0 }];
    let (n, silu) = (22, Some(Act::Silu));
    for (dtype, k, m, glu, all) in [
        (DType::F32, 21, 4, None, true),
        (DType::F32, 64, 1, silu, false),
        (DType::Q4_0, 64, 1, None, false),
        (DType::Q4_1, 96, 1, silu, true),
        (DType::Q4_1, 96, 5, None, true),
        (DType::Q8_0, 64, 4, silu, false),
        (DType::Q8_0, 64, 11, None, false),
        (DType::Q8_0, 64, 11, silu, true),
    ] {
        let mut ins = vec![frozen(&mut rng, &[m, k], 3.0), weight(&mut rng, dtype, n, k, 1.0)];
        if all {
            ins.extend([frozen(&mut rng, &[n], 1.0), frozen(&mut rng, &[m, 3], 1.0), frozen(&mut rng, &[1, 51], 0.3)]);
        }
        ins.push(frozen(&mut rng, &[k], 1.5));
        let op = Linear {
            segs: if all { segs.clone() } else { Vec::new() },
            bias: all,
            lora: all.then_some(Low::Given),
            glu,
            norm: Some(RmsNorm::new(1e-5)),
            ..Linear::default()
        };
        let what = format!("{what}: normed {} of {m}×{n}×{k}, {glu:?}", dtype.name());
        check(gpu, &what, &ins, 3e-5, |t, v| Ok(vec![t.push1(op.clone(), v)?])).await;
        if all {
            // As a token is decoded with an adapter: what A multiplies is normed, too.
            ins[3] = frozen(&mut rng, &[3, k], 0.3);
            let op = Linear { lora: Some(Low::Made), ..op };
            check(gpu, &format!("{what}, with A"), &ins, 3e-5, |t, v| Ok(t.push(op.clone(), v)?.to_vec())).await;
        }
    }
}

fl_test!(
    async fn linear_with_a_norm() {
        normed(&gpu().await, "linear").await;
        let apart = GpuOptions { kernels: Some("linear_norm=apart".into()), ..Default::default() };
        normed(&gpu_with(&apart).await, "apart").await;
    }
);

/// A device whose bindings are so small that a weight of this many rows of 64 needs several buffers.
pub async fn small_bindings() -> Gpu {
    gpu_with(&GpuOptions { max_binding: Some(24 << 10), ..Default::default() }).await
}

/// Rows of a weight with 64 columns that [`small_bindings`] splits in two or more.
pub fn split_rows(dtype: DType) -> usize {
    match dtype {
        DType::F32 => 200,
        DType::Q4_0 | DType::Q4_1 => 1300,
        _ => 700,
    }
}

fl_test!(
    /// Forward and backward over a weight in several buffers, with everything that is added to some rows of it only.
    async fn linear_over_split_weights() {
        let gpu = small_bindings().await;
        let mut rng = Rng(10);
        for dtype in TYPES {
            let (m, n, k) = (3, split_rows(dtype), 64);
            let w = weight(&mut rng, dtype, n, k, 1.0);
            let chunks = Tensor::zeros(&Exec::Gpu(gpu.clone()), "w", w.desc.clone()).unwrap().chunks().len();
            assert!(chunks > 1, "{} rows of {} lie in one buffer", n, dtype.name());
            // One segment lies across the first border, one in the last part.
            let segs = vec![
                LoraSeg { row0: 10, row1: n - 40, h_off: 0, r: 2, b_off: 0, scale: 2.0 },
                LoraSeg { row0: n - 20, row1: n, h_off: 2, r: 1, b_off: 2 * (n - 50), scale: 0.5 },
            ];
            let flat = 2 * (n - 50) + 20;
            let ins = [
                rand(&mut rng, &[m, k], 1.0),
                w,
                rand(&mut rng, &[n], 1.0),
                rand(&mut rng, &[3, k], 0.3),
                rand(&mut rng, &[1, flat], 0.3),
                rand(&mut rng, &[m, n], 1.0),
            ];
            check(&gpu, &format!("linear over {chunks} parts of {}", dtype.name()), &ins, 3e-5, |t, v| {
                let h = t.push1(Linear::plain(), &[v[0], v[3]])?;
                let op = Linear { segs: segs.clone(), bias: true, lora: Some(Low::Given), residual: true, ..Linear::default() };
                Ok(vec![t.push1(op, &[v[0], v[1], v[2], h, v[4], v[5]])?])
            })
            .await;
            let op = Linear { segs: segs.clone(), bias: true, lora: Some(Low::Made), residual: true, ..Linear::default() };
            let what = format!("LoRA in one over {chunks} parts of {}", dtype.name());
            check(&gpu, &what, &ins, 3e-5, |t, v| Ok(t.push(op.clone(), v)?[..1].to_vec())).await;
        }
    }
);

fl_test!(
    /// One linear layer makes all three products: y = x·wᵀ, dx = dy·w, dw = dyᵀ·x. So each form of a plain product is one of them,
    /// and its gradients are the other two.
    async fn matmul_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("matmul") {
            // x, w, upstream → y, dx, dw
            let names = match case.text_param("form") {
                "nt" => ["a", "b", "dy", "y", "da", "db"],
                "nn" => ["dy", "b", "a", "da", "y", "db"],
                "tn" => ["b", "dy", "a", "da", "db", "y"],
                other => panic!("matmul of form {other:?}"),
            };
            let ins = [&names[0], &names[1]].map(|n| In { grad: true, ..case.input(n) });
            case.check_named(&gpu, &ins, &names[2..3], &names[3..4], &names[4..], |t, v| Ok(vec![t.push1(Linear::plain(), v)?])).await;
        }
    }

    async fn linear_is_pytorchs() {
        let gpu = gpu().await;
        let mut refused = 0;
        for case in fixture::cases("linear") {
            let mut ins = vec![case.input("x"), case.weight()];
            let bias = case.has("b");
            if bias {
                ins.push(case.input("b"));
            }
            let build =
                |t: &mut Tape, v: &[Val]| -> fledgling::Result<Vec<Val>> { Ok(vec![t.push1(Linear { bias, ..Linear::default() }, v)?]) };
            if ins[1].desc.dtype != DType::F32 && ins[1].desc.cols() % 8 != 0 {
                // 16-bit rows of 34: the loader widens such a weight to F32 (`models::blueprint`), which is what the op is given then.
                let mut tape = Tape::new();
                let vals: Vec<Val> = ins.iter().map(|i| tape.temp(i.desc.clone())).collect();
                assert_eq!(build(&mut tape, &vals).expect_err("rows of 34 in 16 bits").code(), "bad-shape");
                ins[1] = case.input("w");
                refused += 1;
            }
            case.check(&gpu, &ins, &["x", "w", "b"][..ins.len()], &["y"], build).await;
        }
        assert_eq!(refused, 2, "one case of F16 and one of BF16");
    }

    async fn lora_linear_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("lora_linear") {
            let (n, r) = (case.usize_param("n"), case.usize_param("r"));
            let ins = [case.input("x"), case.weight(), case.input("a"), case.input_as("b", &[1, n * r])];
            let seg = LoraSeg { row0: 0, row1: n, h_off: 0, r, b_off: 0, scale: case.f32_param("scale") };
            let op = |low| Linear { segs: vec![seg], lora: Some(low), ..Linear::default() };
            case.check(&gpu, &ins, &["x", "w", "a", "b"], &["y"], |t, v| {
                let h = t.push1(Linear::plain(), &[v[0], v[2]])?;
                Ok(vec![t.push1(op(Low::Given), &[v[0], v[1], h, v[3]])?])
            })
            .await;
            case.check(&gpu, &ins, &["x", "w", "a", "b"], &["y"], |t, v| Ok(t.push(op(Low::Made), v)?[..1].to_vec())).await;
        }
    }
);

fl_test!(
    async fn variants_are_measured_and_remembered() {
        let gpu = gpu_with(&GpuOptions::default()).await;
        fledgling::device::calibrate::calibrate(&gpu).await.expect("measures");
        let measured = gpu.tuning().borrow().measured().clone();
        report!("chosen on {}: {measured:?}", gpu.caps().name);
        assert!(measured.keys().all(|c| CLASSES.contains(&c.as_str())) && measured.len() == CLASSES.len(), "{measured:?}");
        let again = gpu_with(&GpuOptions::default()).await;
        again.tuning().borrow_mut().restore(measured);
        let before = again.counters().pipelines.get();
        fledgling::device::calibrate::calibrate(&again).await.expect("nothing to do");
        assert_eq!(again.counters().pipelines.get(), before, "what is remembered is not measured again");
    }
);

// Kernels with barriers take a browser's software adapter minutes to compile.
#[cfg(not(target_arch = "wasm32"))]
fl_test!(
    /// Where there is a GPU every class has several variants; one that is forced is left alone, the others are measured all the same.
    async fn a_gpu_measures_what_is_not_forced() {
        use fledgling::device::variants::variants;
        let gpu = gpu_with(&GpuOptions { as_hardware: true, kernels: Some("attention=tile".into()), ..Default::default() }).await;
        fledgling::device::calibrate::calibrate(&gpu).await.expect("measures");
        let measured = gpu.tuning().borrow().measured().clone();
        report!("as if it were hardware: {measured:?}");
        for class in CLASSES {
            let several = variants(&gpu, class);
            assert!(several.len() > 1, "{class}");
            match measured.get(class) {
                Some(v) => assert!(several.contains(&v.as_str()), "{class}: {v}"),
                None => assert_eq!(class, "attention"),
            }
        }
    }
);
