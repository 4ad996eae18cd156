//! The planner, replay, checkpointing and the reverse loop's bookkeeping.

use crate::harness::{devices, gpu, gpu_with};
use crate::opcase::{Rng, close};
use fledgling::gpu::GpuOptions;
use fledgling::graph::{Arena, Desc, Exec, HostProgram, Plan, Program, ProgramOptions, StepParams, Tape, Tensor, Val};
use fledgling::ops::half::keep_halves;
use fledgling::ops::linear::{Linear, LoraSeg, Low};
use fledgling::ops::norm::RmsNorm;

/// A small residual network of `layers` layers over `rows` rows, each a segment: norm, linear with LoRA and residual.
struct Net {
    tape: Tape,
    y: Val,
    params: Vec<Tensor>,
    x: Tensor,
}

/// How activations wait for the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Wait {
    checkpoint: bool,
    halves: bool,
}

const KEPT: Wait = Wait { checkpoint: false, halves: false };
const AGAIN: Wait = Wait { checkpoint: true, halves: false };

fn net(exec: &Exec, layers: usize, rows: usize, wait: Wait) -> Net {
    let mut rng = Rng(21);
    let mut random = |n: usize, s: f64| -> Vec<f64> { (0..n).map(|_| f64::from((rng.uniform() * s) as f32)).collect() };
    let c = 32;
    let mut tape = Tape::new();
    let x = Tensor::from_f64(exec, "x", &[rows, c], &random(rows * c, 1.0)).expect("small");
    let mut v = tape.tensor(&x);
    let mut params = Vec::new();
    let shapes: Vec<(String, Vec<usize>)> =
        (0..layers).flat_map(|i| [(format!("a{i}"), vec![4, c]), (format!("b{i}"), vec![1, 4 * c])]).collect();
    let arena = Arena::zeros(exec, "adapter", &shapes).expect("small");
    let grads = Arena::zeros(exec, "grads", &shapes).expect("small");
    for (p, g) in arena.parts.iter().zip(grads.parts) {
        p.set_f64(exec, &random(p.desc().len(), 0.5));
        p.set_grad(Some(g));
        params.push(p.clone());
    }
    for i in 0..layers {
        tape.begin_segment();
        let gain = Tensor::from_f64(exec, "gain", &[c], &random(c, 1.0)).expect("small");
        let w = Tensor::from_f64(exec, "w", &[c, c], &random(c * c, 0.3)).expect("small");
        let (g, w) = (tape.tensor(&gain), tape.tensor(&w));
        let (a, b) = (tape.tensor(&params[2 * i]), tape.tensor(&params[2 * i + 1]));
        let n = tape.push(RmsNorm::new(1e-5), &[v, g]).expect("fits")[0];
        let h = tape.push1(Linear::plain(), &[n, a]).expect("fits");
        let segs = vec![LoraSeg { row0: 0, row1: c, h_off: 0, r: 4, b_off: 0, scale: 2.0 }];
        v = tape.push1(Linear { segs, lora: Some(Low::Given), residual: true, ..Default::default() }, &[n, w, h, b, v]).expect("fits");
        tape.end_segment();
    }
    let seed = Tensor::from_f64(exec, "seed", &[rows, c], &random(rows * c, 1.0)).expect("small");
    let seed = tape.tensor(&seed);
    let forward = tape.nodes().len();
    tape.backward(&[(v, seed)], wait.checkpoint).expect("differentiable");
    if wait.halves {
        keep_halves(&mut tape, forward).expect("even rows");
    }
    tape.output("y", v);
    Net { tape, y: v, params, x }
}

async fn grads(exec: &Exec, net: &Net) -> Vec<Vec<f64>> {
    let mut out = Vec::new();
    for p in &net.params {
        out.push(p.grad().expect("trainable").to_f64(exec).await.expect("readable"));
    }
    out
}

async fn run_on(exec: &Exec, wait: Wait) -> (Vec<f32>, Vec<Vec<f64>>, u64) {
    let net = net(exec, 6, 33, wait);
    let program = Program::build(exec, &net.tape, ProgramOptions { per_submit: 7, ..ProgramOptions::default() }).expect("builds");
    let y = program.run_f32(&StepParams::default(), "y").await.expect("runs");
    (y, grads(exec, &net).await, program.slot_bytes())
}

fl_test!(
    async fn lifetimes_in_a_slot_never_overlap() {
        let net = net(&Exec::Reference, 8, 5, KEPT);
        let plan = Plan::new(&net.tape);
        assert!(plan.bytes() < plan.naive_bytes, "slots are reused");
        for slot in &plan.slots {
            for pair in slot.lives.windows(2) {
                assert!(pair[0].1 < pair[1].0, "{:?} and {:?} share a slot", pair[0], pair[1]);
            }
        }
        let _ = &net.x;
    }
);

fl_test!(
    async fn gradients_agree_with_the_host_and_under_checkpointing() {
        let host = net(&Exec::Reference, 6, 33, KEPT);
        let mut program = HostProgram::new(&host.tape);
        program.run(&StepParams::default()).expect("runs");
        let want = grads(&Exec::Reference, &host).await;
        let y = program.get(host.y).expect("computed");
        let exec = Exec::Gpu(gpu().await);
        let (y1, g1, kept) = run_on(&exec, KEPT).await;
        let (y2, g2, recomputed) = run_on(&exec, AGAIN).await;
        close("y", &y1.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), &y, 1e-4);
        for (i, (a, w)) in g1.iter().zip(&want).enumerate() {
            close(&format!("gradient {i}"), a, w, 1e-4);
        }
        assert_eq!(y1, y2, "checkpointing changes nothing in the forward pass");
        assert_eq!(g1, g2, "recomputed activations are the same bits, and so are the gradients");
        assert!(recomputed < kept, "activations: {recomputed} bytes with checkpointing, {kept} without");
    }
);

fl_test!(
    async fn activations_that_wait_as_halves_leave_the_forward_pass_alone() {
        for checkpoint in [false, true] {
            let halves = Wait { checkpoint, halves: true };
            let host = net(&Exec::Reference, 6, 33, halves);
            HostProgram::new(&host.tape).run(&StepParams::default()).expect("runs");
            let want = grads(&Exec::Reference, &host).await;
            for exec in devices().await {
                let name = exec.info().name;
                let (y1, g1, kept) = run_on(&exec, Wait { checkpoint, halves: false }).await;
                let (y2, g2, half) = run_on(&exec, halves).await;
                assert_eq!(y1, y2, "the forward pass on {name}");
                for (i, ((a, b), w)) in g1.iter().zip(&g2).zip(&want).enumerate() {
                    // Halves keep eleven bits.
                    close(&format!("gradient {i} on {name}"), b, a, 2e-3);
                    close(&format!("gradient {i} on {name} and the reference's"), b, w, 1e-3);
                }
                assert_ne!(g1, g2, "nothing was narrowed on {name}");
                // The network's last values and those of the backward pass stay as they are.
                let limit = if checkpoint { kept } else { kept * 3 / 4 };
                assert!(half < limit, "{name}: {half} bytes as halves, {kept} without");
            }
        }
    }
);

fl_test!(
    async fn a_replay_gives_the_same_bits_and_allocates_nothing() {
        let gpu = gpu().await;
        let exec = Exec::Gpu(gpu.clone());
        let net = net(&exec, 3, 9, KEPT);
        let program = Program::build(&Exec::Gpu(gpu.clone()), &net.tape, ProgramOptions::default()).expect("builds");
        let first = program.run_f32(&StepParams::default(), "y").await.expect("runs");
        let (allocations, pipelines, live) = (gpu.counters().allocations.get(), gpu.counters().pipelines.get(), gpu.live_bytes());
        let second = program.run_f32(&StepParams::default(), "y").await.expect("runs");
        assert_eq!(first, second);
        assert_eq!(gpu.counters().allocations.get(), allocations, "buffers allocated by a replay");
        assert_eq!(gpu.counters().pipelines.get(), pipelines, "pipelines compiled by a replay");
        assert_eq!(gpu.live_bytes(), live);
    }
);

fl_test!(
    async fn kernels_are_compiled_side_by_side_and_once() {
        // A device that has compiled nothing.
        let gpu = gpu_with(&GpuOptions::default()).await;
        let exec = Exec::Gpu(gpu.clone());
        let net = net(&exec, 2, 9, KEPT);
        let program = Program::build(&exec, &net.tape, ProgramOptions::default()).expect("builds");
        assert_eq!(gpu.counters().pipelines.get(), 0, "building compiles nothing");
        let ahead = program.compile().await.expect("compiles");
        let pipelines = gpu.counters().pipelines.get();
        assert!(pipelines > 4, "{pipelines} pipelines");
        let alone = cfg!(not(target_arch = "wasm32")) && std::thread::available_parallelism().map_or(1, usize::from) == 1;
        assert_eq!(ahead as u64, if alone { 0 } else { pipelines });
        assert_eq!(program.compile().await.expect("nothing left"), 0);
        let y = program.run_f32(&StepParams::default(), "y").await.expect("runs");
        assert_eq!(gpu.counters().pipelines.get(), pipelines, "pipelines compiled by a run");
        // Without: one by one at the first submit.
        let late = gpu_with(&GpuOptions::default()).await;
        let exec = Exec::Gpu(late.clone());
        let net = self::net(&exec, 2, 9, KEPT);
        let program = Program::build(&exec, &net.tape, ProgramOptions::default()).expect("builds");
        program.submit(&StepParams::default());
        assert_eq!(late.counters().pipelines.get(), pipelines);
        assert_eq!(program.run_f32(&StepParams::default(), "y").await.expect("runs"), y);
    }
);

fl_test!(
    async fn gradients_accumulate_over_replays() {
        let gpu = gpu().await;
        let exec = Exec::Gpu(gpu.clone());
        let net = net(&exec, 2, 4, KEPT);
        let program = Program::build(&Exec::Gpu(gpu.clone()), &net.tape, ProgramOptions::default()).expect("builds");
        program.submit(&StepParams::default());
        let once = grads(&exec, &net).await;
        program.submit(&StepParams::default());
        let twice = grads(&exec, &net).await;
        for (a, b) in once.iter().zip(&twice) {
            close("accumulated", b, &a.iter().map(|v| 2.0 * v).collect::<Vec<_>>(), 1e-6);
        }
    }
);

fl_test!(
    async fn a_gradient_shared_by_two_values_is_not_overwritten() {
        // h = a + b where b is computed first and a is used again before the sum: the sum's gradient stands for both.
        for exec in [Exec::Reference, Exec::Gpu(gpu().await), crate::harness::cpu()] {
            let mut tape = Tape::new();
            let x = Tensor::from_f64(&exec, "x", &[2, 4], &[1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 2.5, -2.0]).expect("small");
            x.set_grad(Some(Tensor::zeros(&exec, "dx", Desc::f32(&[2, 4])).expect("small")));
            let gain = Tensor::from_f64(&exec, "gain", &[4], &[1.0, 0.5, 2.0, 1.5]).expect("small");
            let eye: Vec<f64> = (0..16).map(|i| if i % 5 == 0 { 2.0 } else { 0.0 }).collect();
            let w = Tensor::from_f64(&exec, "w", &[4, 4], &eye).expect("small");
            let (x0, gain, w) = (tape.tensor(&x), tape.tensor(&gain), tape.tensor(&w));
            let a = fledgling::graph::identity(&mut tape, x0).expect("copies");
            let b = tape.push(RmsNorm::new(1e-5), &[x0, gain]).expect("fits")[0];
            let sum = tape.push1(Linear { residual: true, ..Default::default() }, &[a, w, b]).expect("fits");
            let again = tape.push1(Linear { residual: true, ..Default::default() }, &[b, w, sum]).expect("fits");
            let seed = Tensor::from_f64(&exec, "seed", &[2, 4], &[1.0, -1.0, 0.5, 0.25, 2.0, 1.0, -0.5, 0.75]).expect("small");
            let seed = tape.tensor(&seed);
            tape.backward(&[(again, seed)], false).expect("differentiable");
            match &exec {
                Exec::Reference => HostProgram::new(&tape).run(&StepParams::default()).expect("runs"),
                _ => Program::build(&exec, &tape, ProgramOptions::default()).expect("builds").submit(&StepParams::default()),
            }
            let got = x.grad().expect("trainable").to_f64(&exec).await.expect("readable");
            // again = 3·norm(x) + 2·x: the gradient by central differences in f64.
            let f = |x: &[f64]| -> f64 {
                let s = [1.0, -1.0, 0.5, 0.25, 2.0, 1.0, -0.5, 0.75];
                let g = [1.0, 0.5, 2.0, 1.5];
                (0..8)
                    .map(|i| {
                        let row = &x[i / 4 * 4..i / 4 * 4 + 4];
                        let r = 1.0 / (row.iter().map(|v| v * v).sum::<f64>() / 4.0 + f64::from(1e-5f32)).sqrt();
                        s[i] * (3.0 * x[i] * r * g[i % 4] + 2.0 * x[i])
                    })
                    .sum()
            };
            let x0 = [1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 2.5, -2.0];
            let want: Vec<f64> = (0..8)
                .map(|i| {
                    let (mut up, mut down) = (x0, x0);
                    up[i] += 1e-6;
                    down[i] -= 1e-6;
                    (f(&up) - f(&down)) / 2e-6
                })
                .collect();
            close("dx", &got, &want, 1e-5);
        }
    }
);
