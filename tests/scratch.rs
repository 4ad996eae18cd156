use fledgling::gpu::*;
use fledgling::graph::*;
use fledgling::ops::linear::*;
use fledgling::tensor::DType;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
#[cfg(target_arch = "wasm32")]
macro_rules! out { ($($a:tt)*) => { wasm_bindgen_test::console_log!($($a)*) } }
#[cfg(not(target_arch = "wasm32"))]
macro_rules! out { ($($a:tt)*) => { println!($($a)*) } }
async fn bench() {
    for kernels in [
        "linear=reg8x8,linear_dx=reg8",
        "linear=reg8x4,linear_dx=reg4",
        "linear=reg4x4",
        "linear=reg4x8",
        "linear=reg8x1",
        "linear=reg8x2",
        "linear=tile,linear_dx=tile",
    ] {
        let gpu = Gpu::with(&GpuOptions { kernels: Some(kernels.into()), ..Default::default() }).await.unwrap();
        let exec = Exec::Gpu(gpu.clone());
        for (dt, m) in [(DType::F32, 128), (DType::Q4_1, 128), (DType::Q8_0, 128), (DType::Q4_1, 1), (DType::Q8_0, 1), (DType::Q4_1, 4)] {
            if m == 1 && kernels.contains("tile") {
                continue;
            }
            let (n, k) = (1536, 576);
            let reps = if m > 8 { 2 } else { 40 };
            let mk = |dx: bool| {
                let mut tape = Tape::new();
                let x = Tensor::zeros(&exec, "x", Desc::f32(&[m, k])).unwrap();
                let w = Tensor::zeros(&exec, "w", Desc { shape: vec![n, k], dtype: dt }).unwrap();
                if dx {
                    x.set_grad(Some(Tensor::zeros(&exec, "dx", Desc::f32(&[m, k])).unwrap()));
                }
                let (xv, wv) = (tape.tensor(&x), tape.tensor(&w));
                for i in 0..reps {
                    let y = tape.push1(Linear::plain(), &[xv, wv]).unwrap();
                    if dx && i == 0 {
                        let s = Tensor::zeros(&exec, "s", Desc::f32(&[m, n])).unwrap();
                        let sv = tape.tensor(&s);
                        tape.backward(&[(y, sv)], false).unwrap();
                    }
                    if dx {
                        break;
                    }
                }
                Program::build(&gpu, &tape, ProgramOptions::default()).unwrap()
            };
            let p = mk(false);
            let t0 = fledgling::clock::seconds();
            p.submit(&StepParams::default());
            gpu.done().await.unwrap();
            let t1 = fledgling::clock::seconds();
            p.submit(&StepParams::default());
            gpu.done().await.unwrap();
            let t = (fledgling::clock::seconds() - t1) / reps as f64;
            let gf = 2.0 * (m * n * k) as f64 / 1e9;
            let mut line = format!("{kernels} {} m={m}: first {:.2}s {:.2} ms {:.2} GFLOP/s", dt.name(), t1 - t0, t * 1e3, gf / t);
            if m > 8 && kernels.contains("dx") {
                let p = mk(true);
                p.submit(&StepParams::default());
                gpu.done().await.unwrap();
                let t2 = fledgling::clock::seconds();
                p.submit(&StepParams::default());
                gpu.done().await.unwrap();
                let td = fledgling::clock::seconds() - t2 - t;
                line += &format!("  dx {:.2} ms {:.2} GFLOP/s", td * 1e3, gf / td);
            }
            out!("{line}");
        }
    }
}
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen_test::wasm_bindgen_test]
async fn b() {
    bench().await
}
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn b() {
    pollster::block_on(bench())
}
