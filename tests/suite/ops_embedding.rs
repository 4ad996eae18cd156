//! Embedding over every weight type, split tables, gradients with repeated ids; gathering rows.

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{Rng, check, ints, packed, rand};
use fledgling::gpu::{Gpu, GpuOptions};
use fledgling::ops::embedding::{Embedding, GatherRows, NO_ROW};
use fledgling::tensor::packing::noise;
use fledgling::tensor::{DType, quantize};

/// Random file bytes of a weight of order one.
fn file_bytes(rng: &mut Rng, dtype: DType, elements: usize) -> Vec<u8> {
    if dtype.is_quantized() {
        return noise(dtype, elements / dtype.block_len(), rng.next(), 1.0);
    }
    quantize(dtype, &(0..elements).map(|_| rng.uniform() as f32).collect::<Vec<_>>())
}

fn ids(rng: &mut Rng, n: usize, below: usize) -> Vec<u32> {
    (0..n).map(|_| (rng.next() % below as u64) as u32).collect()
}

async fn embedding_dw(gpu: &Gpu, what: &str) {
    let mut rng = Rng(21);
    for (v, c, m) in [(1, 1, 3), (5, 3, 33), (33, 9, 5), (65, 64, 33), (7, 130, 65)] {
        let mut some = ids(&mut rng, m, v);
        if m > 4 {
            some[2] = NO_ROW; // no gradient goes anywhere
            some[4] = v as u32;
        }
        let ins = [ints(&[m], &some), rand(&mut rng, &[v, c], 1.0)];
        check(gpu, &format!("embedding {what} {v}×{c} of {m}"), &ins, 2e-5, |t, i| Ok(vec![t.push1(Embedding, &[i[0], i[1]])?])).await;
    }
}

fl_test!(
    async fn embedding() {
        let gpu = gpu().await;
        embedding_dw(&gpu, "default").await;
    }

    async fn embedding_both_gradients() {
        for kind in ["columns", "rows"] {
            let options = GpuOptions { kernels: Some(format!("embedding_dw={kind}")), ..GpuOptions::default() };
            embedding_dw(&Gpu::with(&options).await.unwrap(), kind).await;
        }
    }

    async fn embedding_of_every_weight_type() {
        let gpu = gpu().await;
        let mut rng = Rng(22);
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q4_1, DType::Q8_0] {
            let sizes: &[(usize, usize, usize)] = if dtype.is_quantized() {
                &[(1, 32, 1), (33, 64, 5), (65, 96, 33)]
            } else {
                &[(1, 1, 3), (5, 3, 33), (33, 34, 5), (65, 96, 33)]
            };
            for &(v, c, m) in sizes {
                let table = packed(dtype, &[v, c], file_bytes(&mut rng, dtype, v * c));
                let ins = [ints(&[m], &ids(&mut rng, m, v)), table];
                check(&gpu, &format!("embedding {} {v}×{c} of {m}", dtype.name()), &ins, 1e-6, |t, i| {
                    Ok(vec![t.push1(Embedding, &[i[0], i[1]])?])
                })
                .await;
            }
        }
    }

    /// A table that no single binding holds: 200 rows in parts of 64.
    async fn embedding_of_a_split_table() {
        let gpu = Gpu::with(&GpuOptions { max_binding: Some(24 << 10), ..GpuOptions::default() }).await.unwrap();
        let mut rng = Rng(24);
        for dtype in [DType::F32, DType::F16, DType::Q4_1, DType::Q8_0] {
            let (v, c) = if dtype.is_quantized() { (200, 320) } else { (200, 96) };
            let bytes = file_bytes(&mut rng, dtype, v * c);
            let exec = fledgling::graph::Exec::Gpu(gpu.clone());
            let desc = fledgling::graph::Desc { shape: vec![v, c], dtype };
            assert!(fledgling::graph::Tensor::zeros(&exec, "table", desc).unwrap().chunks().len() > 1, "{}", dtype.name());
            let mut some = ids(&mut rng, 13, v);
            some[3] = NO_ROW;
            let ins = [ints(&[13], &some), packed(dtype, &[v, c], bytes)];
            check(&gpu, &format!("split {}", dtype.name()), &ins, 1e-6, |t, i| Ok(vec![t.push1(Embedding, &[i[0], i[1]])?])).await;
        }
    }

    async fn embedding_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("embedding") {
            let dtype = fixture::dtype(case.params["dtype"].as_str().unwrap());
            let w = if dtype == DType::F32 { case.input("w") } else { packed(dtype, &case.shape("w"), case.bytes("w_raw").to_vec()) };
            case.check(&gpu, &[case.ints("ids"), w], &["", "w"], &["y"], |t, v| Ok(vec![t.push1(Embedding, v)?])).await;
        }
    }

    async fn gather_rows() {
        let gpu = gpu().await;
        let mut rng = Rng(23);
        for (m, c, r) in [(1, 1, 1), (3, 5, 2), (33, 65, 17), (65, 8, 70)] {
            let mut order: Vec<u32> = (0..m as u32).collect();
            for i in (1..m).rev() {
                order.swap(i, (rng.next() % (i as u64 + 1)) as usize);
            }
            let index: Vec<u32> = (0..r).map(|i| if i % 5 == 3 { NO_ROW } else { order.get(i).copied().unwrap_or(NO_ROW) }).collect();
            let inverse: Vec<u32> = (0..m as u32).map(|i| index.iter().position(|v| *v == i).map_or(NO_ROW, |p| p as u32)).collect();
            let ins = [rand(&mut rng, &[m, c], 1.0), ints(&[r], &index), ints(&[m], &inverse)];
            check(&gpu, &format!("gather_rows {r} of {m}×{c}"), &ins, 1e-6, |t, v| Ok(vec![t.push1(GatherRows, &[v[0], v[1], v[2]])?]))
                .await;
        }
    }
);
