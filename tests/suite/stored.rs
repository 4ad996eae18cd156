//! Every row of the table of stored types: unpacked as ggml unpacks it, made from floats as ggml makes it, and run and trained over on both
//! executors in every form of the kernels.

#[cfg(not(target_arch = "wasm32"))]
use crate::harness::gpu_with;
use crate::harness::{cpu, gpu};
use crate::opcase::{In, Rng, check, frozen, ints, packed, rand, run};
use fledgling::gpu::Gpu;
#[cfg(not(target_arch = "wasm32"))]
use fledgling::gpu::GpuOptions;
use fledgling::graph::{Desc, Exec, StepParams, Tape, Tensor, Val};
use fledgling::models::{LoadOptions, ModelLoader};
use fledgling::ops::Act;
use fledgling::ops::embedding::Embedding;
use fledgling::ops::head::LinearLogps;
use fledgling::ops::linear::{Linear, LoraSeg, Low};
use fledgling::ops::norm::RmsNorm;
use fledgling::tensor::packing::{STORED, noise};
use fledgling::tensor::{DType, Stored, dequantize, quantize};
use serde_json::Value;

/// By tests/oracle/stored.py, from the `gguf` package.
static FILE: &[u8] = include_bytes!("../fixtures/stored.safetensors");

fn entry(name: &str) -> Option<&'static [u8]> {
    let size = u64::from_le_bytes(FILE[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&FILE[8..8 + size]).unwrap();
    let at = |i: usize| 8 + size + header[name]["data_offsets"][i].as_u64().unwrap() as usize;
    (!header[name].is_null()).then(|| &FILE[at(0)..at(1)])
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The quantized rows of the table.
fn quantized() -> impl Iterator<Item = &'static Stored> {
    STORED.iter().filter(|s| s.block_len > 1)
}

/// A random weight of order one.
fn weight(rng: &mut Rng, dtype: DType, n: usize, k: usize) -> In {
    packed(dtype, &[n, k], noise(dtype, n * k / dtype.block_len(), rng.next(), 1.0))
}

fl_test!(
    /// Bit for bit, with the sign of every zero.
    async fn blocks_are_unpacked_as_ggml_does() {
        for s in quantized() {
            let (blocks, want) = (entry(&format!("{}.blocks", s.name)).expect(s.name), entry(&format!("{}.values", s.name)).expect(s.name));
            let got = dequantize(s.dtype, blocks);
            assert_eq!(got.len() * 4, want.len(), "{}", s.name);
            for (i, (g, w)) in got.iter().zip(floats(want)).enumerate() {
                assert_eq!(g.to_bits(), w.to_bits(), "{} value {i}: {g} instead of {w}", s.name);
            }
        }
    }

    async fn floats_become_the_blocks_that_ggml_makes() {
        let mut seen = 0;
        for s in quantized() {
            let Some(x) = entry(&format!("{}.floats", s.name)) else { continue };
            let want = entry(&format!("{}.made", s.name)).expect(s.name);
            for (i, (g, w)) in quantize(s.dtype, &floats(x)).chunks(s.block_bytes).zip(want.chunks(s.block_bytes)).enumerate() {
                assert_eq!(g, w, "{} block {i}", s.name);
            }
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    /// What was written to a device is read back as the same numbers, from any row on; and what kernels unpack is that, too: rows of the
    /// embedding (but where MXFP4's scale is below 2⁻¹²⁶: a GPU may take that for zero).
    async fn both_executors_keep_what_the_file_has() {
        let gpu = gpu().await;
        for exec in [Exec::Gpu(gpu.clone()), cpu()] {
            for s in quantized() {
                let blocks = entry(&format!("{}.blocks", s.name)).expect(s.name);
                let cols = 2 * s.block_len;
                let rows = blocks.len() / (2 * s.block_bytes);
                let want = dequantize(s.dtype, blocks);
                let desc = Desc { shape: vec![rows, cols], dtype: s.dtype };
                let t = Tensor::from_bytes(&exec, "w", desc.clone(), blocks).expect(s.name);
                assert_eq!(t.read_rows(&exec, 1, rows - 1).await.expect(s.name), want[cols..], "{}", s.name);
                let ids: Vec<u32> = (0..rows as u32).rev().collect();
                let ins = [ints(&[rows], &ids), packed(s.dtype, &[rows, cols], blocks.to_vec())];
                let build = |t: &mut Tape, v: &[Val]| Ok(vec![t.push1(Embedding, v)?]);
                let got = run(&exec, &ins, None, false, &StepParams::default(), &build).await.expect(s.name);
                for (i, got) in got.outputs[0].iter().enumerate() {
                    let want = f64::from(want[(rows - 1 - i / cols) * cols + i % cols]);
                    assert!(*got == want || (want.abs() < 1.5e-37 && *got == 0.0), "{} {i}: {got} instead of {want}", s.name);
                }
            }
        }
    }
);

/// All three products over every type: one row, a few and many, rows of one block and of several, with LoRA in training, gated, normed.
async fn everything(gpu: &Gpu, what: &str, types: impl Iterator<Item = &'static Stored>) {
    for s in types {
        let mut rng = Rng(31);
        let k = if s.block_len == 32 { 96 } else { s.block_len };
        for (m, n) in [(1, 9), (3, 6), (9, 5)] {
            let ins = [rand(&mut rng, &[m, k], 1.0), weight(&mut rng, s.dtype, n, k)];
            check(gpu, &format!("{what} {} {m}×{n}×{k}", s.name), &ins, 3e-5, |t, v| Ok(vec![t.push1(Linear::plain(), v)?])).await;
        }
        let n = 8;
        let segs = vec![LoraSeg { row0: 0, row1: n, h_off: 0, r: 3, b_off: 0, scale: 2.0 }];
        let lora = Linear { segs, lora: Some(Low::Made), ..Linear::default() };
        // What a kernel does beside unpacking is the same for every type: each has it over a few rows or over many, the next type the other way round.
        let turn = s.dtype as usize % 2;
        for (i, m) in [2, 11].into_iter().enumerate() {
            let mut ins = vec![
                rand(&mut rng, &[m, k], 1.0),
                weight(&mut rng, s.dtype, n, k),
                rand(&mut rng, &[3, k], 0.3),
                rand(&mut rng, &[1, 3 * n], 0.3),
            ];
            let what = format!("{what} {} {m}×{n}×{k}", s.name);
            if i == turn {
                check(gpu, &format!("{what} LoRA"), &ins, 3e-5, |t, v| Ok(t.push(lora.clone(), v)?[..1].to_vec())).await;
                ins.iter_mut().for_each(|i| i.grad = false);
                ins.push(frozen(&mut rng, &[k], 1.5));
                let normed = Linear { glu: Some(Act::Silu), norm: Some(RmsNorm::new(1e-5)), ..lora.clone() };
                check(gpu, &format!("{what} normed and gated"), &ins, 5e-5, |t, v| Ok(t.push(normed.clone(), v)?[..1].to_vec())).await;
            } else {
                let gated = Linear { glu: Some(Act::Silu), keep: true, ..lora.clone() };
                check(gpu, &format!("{what} gated"), &ins, 3e-5, |t, v| Ok(t.push(gated.clone(), v)?[..1].to_vec())).await;
            }
        }
    }
}

/// A browser's software adapter takes seconds for each kernel: there a part of the types, one of each kind.
fn some() -> impl Iterator<Item = &'static Stored> {
    let browser = cfg!(target_arch = "wasm32");
    quantized().filter(move |s| !browser || matches!(s.dtype, DType::Q5_1 | DType::Q4_K | DType::Q6_K | DType::IQ4_XS))
}

fl_test!(
    async fn every_type_runs_and_is_trained_over() {
        everything(&gpu().await, "stored", some()).await;
    }

    /// The head in chunks, and a vocabulary in several buffers.
    async fn every_type_is_a_vocabulary() {
        let gpu = gpu().await;
        let mut rng = Rng(32);
        for s in some() {
            let (rows, c, v) = (5, s.block_len.max(64), 37);
            let targets: Vec<u32> = (0..rows as u32).map(|i| (i * 7) % v as u32).collect();
            let ins = [rand(&mut rng, &[rows, c], 0.3), weight(&mut rng, s.dtype, v, c), ints(&[rows], &targets)];
            for saved in [false, true] {
                check(&gpu, &format!("logps over {}", s.name), &ins, 5e-5, |t, v| Ok(t.push(LinearLogps::new(saved), v)?[..1].to_vec()))
                    .await;
            }
        }
    }
);

// A browser's software adapter would take minutes to compile these. What a software adapter and a real GPU choose by themselves is in
// `every_type_runs_and_is_trained_over`; types that `ops_linear` has in every variant are left out.
#[cfg(not(target_arch = "wasm32"))]
fl_test!(
    async fn every_type_in_other_variants() {
        for variant in ["reg8x8", "vecsub"] {
            let kernels = format!("linear={variant},linear_dx=reg4,linear_dw=reg8");
            let gpu = gpu_with(&GpuOptions { kernels: Some(kernels), ..Default::default() }).await;
            everything(&gpu, variant, quantized().filter(|s| !matches!(s.dtype, DType::Q4_0 | DType::Q4_1 | DType::Q8_0))).await;
        }
    }
);

fl_test!(
    /// A type's rows are whole blocks, and scales are numbers: whatever else a file says is refused.
    async fn rows_that_are_no_blocks_and_scales_that_are_no_numbers_are_refused() {
        let gpu = gpu().await;
        for exec in [Exec::Gpu(gpu.clone()), cpu()] {
            for s in quantized() {
                let desc = |cols: usize| Desc { shape: vec![3, cols], dtype: s.dtype };
                let e = Tensor::zeros(&exec, "w", desc(s.block_len + 16)).err().unwrap_or_else(|| panic!("{}", s.name));
                assert!(e.code() == "bad-shape" && e.to_string().contains(s.name), "{e}");
                let t = Tensor::zeros(&exec, "w", desc(s.block_len)).expect(s.name);
                let mut bytes = noise(s.dtype, 3, 1, 1.0);
                t.write_rows(&exec, 0, &bytes).expect(s.name);
                // All ones are infinite or NaN as halves, and NaN as MXFP4's scale.
                bytes[2 * s.block_bytes..].fill(0xff);
                let e = t.write_rows(&exec, 0, &bytes).expect_err(s.name);
                assert_eq!(e.code(), "not-finite", "{}: {e}", s.name);
                assert!(t.write_rows(&exec, 0, &bytes[..s.block_bytes + 1]).is_err(), "{}", s.name);
            }
        }
    }
);

fl_test!(
    /// Relative errors of normally distributed weights: what the search of scales is good for. Types with more bits are closer.
    async fn quantizing_loses_little() {
        let mut rng = Rng(33);
        let mut normal = || (0..12).map(|_| rng.uniform()).sum::<f64>() / 2.0;
        let x: Vec<f32> = (0..8192).map(|_| (normal() * 0.02) as f32).collect();
        let norm = |v: &[f32]| v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        for s in quantized().filter(|s| s.quantize.is_some()) {
            let most = match s.dtype {
                DType::Q8_0 => 0.006,
                DType::Q6_K => 0.02,
                DType::Q5_0 | DType::Q5_1 | DType::Q5_K => 0.05,
                DType::Q4_0 | DType::Q4_1 | DType::Q4_K | DType::IQ4_NL | DType::IQ4_XS => 0.1,
                DType::MXFP4 => 0.13,
                DType::Q3_K => 0.19,
                _ => 0.36,
            };
            let back = dequantize(s.dtype, &quantize(s.dtype, &x));
            let off = norm(&x.iter().zip(&back).map(|(a, b)| a - b).collect::<Vec<_>>()) / norm(&x);
            assert!(off < most, "{}: {off:.4}", s.name);
            // Zeros are zeros, what is no whole block is padded, and what was quantized stays what it is up to a step of its scales.
            let zeros = dequantize(s.dtype, &quantize(s.dtype, &vec![0.0; s.block_len]));
            assert!(zeros.iter().all(|v| *v == 0.0), "{}", s.name);
            assert_eq!(quantize(s.dtype, &x[..s.block_len + 5]).len(), 2 * s.block_bytes, "{}", s.name);
        }
    }

    /// Rows of 32 and 48 are no super-blocks: of Q4_K become Q5_0 and, where they are no blocks at all, halves; norms stay floats.
    async fn floats_are_quantized_while_they_are_loaded() {
        let config = include_str!("../fixtures/models/llama/config.json");
        let weights = include_bytes!("../fixtures/models/llama/model.safetensors");
        let exec = cpu();
        let load = async |quantize: Option<DType>| {
            let mut loader = ModelLoader::new(&exec, LoadOptions { quantize: quantize.map(Into::into), ..LoadOptions::default() });
            loader.add_text("config.json", config);
            loader.begin_file("model.safetensors", None)?;
            weights.chunks(1001).try_for_each(|b| loader.push(b))?;
            loader.end_file()?;
            loader.finish().await
        };
        let (plain, packed) = (load(None).await.unwrap(), load(Some(DType::Q4_K)).await.unwrap());
        let mut types = std::collections::BTreeMap::new();
        for path in plain.model.params().paths() {
            let values = plain.model.params().read(path).await.unwrap();
            let store = packed.model.params();
            let dtype = store.tensor(store.find(path).unwrap().id).desc().dtype;
            let want = if dtype == DType::F32 { values } else { dequantize(dtype, &quantize(dtype, &values)) };
            assert_eq!(store.read(path).await.unwrap(), want, "{path} as {}", dtype.name());
            *types.entry(dtype.name()).or_insert(0) += 1;
        }
        let types: Vec<_> = types.into_iter().collect();
        assert_eq!(types, [("F16", 2), ("F32", 5), ("Q5_0", 14)], "down of two layers, norms, everything else");
        assert_eq!(packed.info.quantization, "F32", "what the file has");
    }
);
