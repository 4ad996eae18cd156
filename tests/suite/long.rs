//! Sums over more elements than a software adapter's thread may make rounds (65,535, and then it stops without a word).

use fledgling::Result;
use fledgling::graph::{Exec, StepParams};
use fledgling::ops::attention::{Attention, AttentionCached};
use fledgling::ops::elementwise::Add;
use fledgling::ops::embedding::Embedding;
use fledgling::ops::linear::{Linear, LoraSeg, Low};
use fledgling::ops::loss::{SequenceSums, SftLoss};
use fledgling::ops::norm::{LayerNorm, RmsNorm};

use crate::harness::{cpu, gpu};
use crate::opcase::{Build, In, Rng, close, frozen, halves, ints, rand, run};

/// Just beyond what one dispatch can do.
const MANY: usize = 66_000;

/// Outputs and gradients on both executors against the reference; the GPU's gradients overwrite and add.
async fn same(what: &str, ins: &[In], build: impl Build) -> Result<()> {
    let step = StepParams::default();
    let shapes = run(&Exec::Reference, ins, None, false, &step, &build).await?;
    let mut rng = Rng(9);
    let seeds: Vec<Vec<f64>> = shapes.outputs.iter().map(|o| o.iter().map(|_| f64::from(rng.uniform() as f32)).collect()).collect();
    let seeds = ins.iter().any(|i| i.grad).then_some(seeds.as_slice());
    let want = run(&Exec::Reference, ins, seeds, false, &step, &build).await?;
    // The processor has no such limit, but sums of its own.
    for (exec, wrap) in [(Exec::Gpu(gpu().await), false), (Exec::Gpu(gpu().await), true), (cpu(), false)] {
        let got = run(&exec, ins, seeds, wrap, &step, &build).await?;
        // The tolerance is that of a sum of 66,000 f32.
        for (i, (g, w)) in got.outputs.iter().zip(&want.outputs).enumerate() {
            close(&format!("{what}, output {i}"), g, w, 1e-4);
        }
        for (i, (g, w)) in got.grads.iter().zip(&want.grads).enumerate() {
            if let (Some(g), Some(w)) = (g, w) {
                close(&format!("{what}, gradient {i}"), g, w, 1e-4);
            }
        }
    }
    Ok(())
}

fl_test!(
    async fn long_lora_sums() -> Result<()> {
        // ⌈64/8⌉ rounds for each of 9000 rows.
        let (m, k, n, r) = (9000, 8, 8, 64);
        let mut rng = Rng(1);
        let ins =
            [rand(&mut rng, &[m, k], 1.0), rand(&mut rng, &[n, k], 1.0), rand(&mut rng, &[m, r], 1.0), rand(&mut rng, &[1, n * r], 1.0)];
        let seg = LoraSeg { row0: 0, row1: n, h_off: 0, r, b_off: 0, scale: 0.5 };
        same("lora", &ins, |t, v| Ok(vec![t.push1(Linear { segs: vec![seg], lora: Some(Low::Given), ..Linear::plain() }, v)?])).await
    }

    async fn long_sums_of_weights_and_biases() -> Result<()> {
        let mut rng = Rng(2);
        for k in [8, 3] {
            let ins = [rand(&mut rng, &[MANY, k], 1.0), rand(&mut rng, &[2, k], 1.0), rand(&mut rng, &[2], 1.0)];
            same("linear", &ins, |t, v| Ok(vec![t.push1(Linear { bias: true, ..Linear::plain() }, v)?])).await?;
        }
        let ins = [rand(&mut rng, &[MANY, 4], 1.0), rand(&mut rng, &[4], 1.0), rand(&mut rng, &[4], 1.0)];
        same("layer norm", &ins, |t, v| Ok(vec![t.push(LayerNorm::new(1e-5), v)?[0]])).await?;
        same("rms norm", &ins[..2], |t, v| Ok(vec![t.push(RmsNorm::new(1e-5), v)?[0]])).await
    }

    async fn long_embeddings() -> Result<()> {
        let mut rng = Rng(3);
        let ids: Vec<u32> = (0..MANY).map(|_| (rng.next() % 5) as u32).collect();
        let ins = [ints(&[MANY], &ids), rand(&mut rng, &[5, 4], 1.0)];
        same("embedding", &ins, |t, v| Ok(vec![t.push1(Embedding, v)?])).await
    }

    async fn long_losses() -> Result<()> {
        let mut rng = Rng(4);
        let logp = In { grad: false, ..rand(&mut rng, &[MANY], 1.0) };
        let weights = In { data: (0..MANY).map(|i| f64::from(u8::from(i % 7 > 0))).collect(), ..logp.clone() };
        let scale = In { data: vec![1.0], ..frozen(&mut rng, &[1], 1.0) };
        same("sft", &[logp.clone(), weights, scale], |t, v| t.push(SftLoss::default(), v)).await?;
        let seq: Vec<u32> = (0..MANY as u32).map(|i| if i % 11 == 0 { u32::MAX } else { i % 4 }).collect();
        same("sequences", &[In { grad: true, ..logp }, ints(&[MANY], &seq)], |t, v| t.push(SequenceSums::new(4), v)).await
    }

    async fn many_queries_of_a_key() -> Result<()> {
        // Rounds for every eight of them: 33, 65, 129.
        for (t, dim) in [(15_000, 64), (8200, 128), (8200, 256)] {
            let s = 6;
            let mut rng = Rng(5);
            let spans: Vec<u32> = (0..t as u32).flat_map(|i| [i % 3, 4 + i % 3]).collect();
            let ins =
                [rand(&mut rng, &[t, dim], 1.0), rand(&mut rng, &[s, dim], 1.0), rand(&mut rng, &[s, dim], 1.0), ints(&[t, 2], &spans)];
            let op = Attention { heads: 1, kv_heads: 1, dim, scale: 0.1, cap: None, batch: 1 };
            same("attention", &ins, |tape, v| Ok(vec![tape.push(op, v)?[0]])).await?;
            if dim == 128 {
                // Added to what is there: the keys are used twice.
                same("attention, twice", &ins, |tape, v| {
                    let (a, b) = (tape.push(op, v)?[0], tape.push(op, v)?[0]);
                    Ok(vec![tape.push1(Add, &[a, b])?])
                })
                .await?;
            }
        }
        Ok(())
    }

    /// The other way round: softmax over keys that one dispatch cannot walk over. Few rows and many rows are different tiles.
    async fn many_keys_of_a_query() -> Result<()> {
        for (t, s, heads, kv_heads, dim) in [
            (5, 8200, 1, 1, 64),
            (2, 33_000, 1, 1, 64),
            (5, 8200, 2, 1, 128),
            (9, 8200, 4, 1, 128),
            (3, 8200, 1, 1, 256),
            (3, 8200, 1, 1, 42),
        ] {
            let mut rng = Rng(6);
            let width = kv_heads * dim;
            let n = s as u32;
            // All of it, what lies on both sides of a cut, the first and the last keys alone, nothing.
            let kinds = [[0, n], [n / 3, n - 7], [n - 3, n], [0, 5], [n / 2, n / 2]];
            let spans: Vec<u32> = (0..t).flat_map(|i| kinds[i % 5]).collect();
            let ins = [
                rand(&mut rng, &[t, heads * dim], 1.0),
                rand(&mut rng, &[s, width], 1.0),
                rand(&mut rng, &[s, width], 1.0),
                ints(&[t, 2], &spans),
            ];
            let op = Attention { heads, kv_heads, dim, scale: 0.5, cap: None, batch: 1 };
            same(&format!("{s} keys of {dim} channels"), &ins, |tape, v| Ok(vec![tape.push(op, v)?[0]])).await?;
        }
        Ok(())
    }

    /// Likewise in a cache, whose slots are walked over twice: below the prefix's end, and from a candidate's own on.
    async fn many_slots_of_a_query() -> Result<()> {
        for (t, s, heads, kv_heads, dim) in
            [(4, 8448, 1, 1, 64), (4, 8448, 2, 1, 128), (20, 8448, 2, 1, 128), (4, 8448, 1, 1, 256), (1, 33_024, 1, 1, 64)]
        {
            let mut rng = Rng(7);
            let (n, cut) = (s as u32, s as u32 / 2);
            // (prefix_len, own_base, begin, end): one sequence, a candidate behind a prefix, one that sees the end of its own, nothing.
            let kinds = [[u32::MAX, 0, 0, n], [cut, cut + 900, 0, n - 900], [cut, cut + 1000, cut + 10, n - 1000], [0, 0, 0, 0]];
            let spans: Vec<u32> = (0..t).flat_map(|i| kinds[i % 4]).collect();
            let shape = [2, s, kv_heads * dim];
            for cache in [frozen(&mut rng, &shape, 1.0), halves(&mut rng, &shape, 1.0)] {
                let ins = [frozen(&mut rng, &[t, heads * dim], 1.0), cache, ints(&[t, 4], &spans)];
                let op = AttentionCached { heads, kv_heads, dim, scale: 0.5, cap: None };
                same(&format!("{s} slots of {dim} channels"), &ins, |tape, v| Ok(vec![tape.push1(op, v)?])).await?;
            }
        }
        Ok(())
    }
);
