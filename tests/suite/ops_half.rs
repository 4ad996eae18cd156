//! f32 to halves and back.

use crate::harness::{devices, gpu};
use crate::opcase::{Rng, check, frozen, run, values};
use fledgling::graph::{Exec, StepParams, Tape, Val};
use fledgling::ops::half::{Narrow, Widen};
use half::f16;

fn there_and_back(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    let h = t.push1(Narrow, &[v[0]])?;
    Ok(vec![t.push1(Widen, &[h])?])
}

fl_test!(
    async fn halves_there_and_back() {
        let gpu = gpu().await;
        let mut rng = Rng(8);
        for (rows, cols) in [(1, 2), (3, 6), (5, 4), (65, 34), (33, 64)] {
            let ins = [frozen(&mut rng, &[rows, cols], 3.0)];
            check(&gpu, &format!("halves {rows}×{cols}"), &ins, 1e-7, there_and_back).await;
        }
    }

    /// All exponents, the middles between halves, and what is too large: as IEEE 754 rounds, but that nothing becomes infinite.
    async fn halves_are_the_nearest() {
        let mut x: Vec<f32> = (0..1 << 13).map(|i: u32| f32::from_bits(0x3000_0000 + i.wrapping_mul(0x0000_6f4d) % 0x1800_0000)).collect();
        x.extend((0..0x7c00u16).step_by(61).flat_map(|h| {
            let (a, b) = (f16::from_bits(h).to_f32(), f16::from_bits(h + 1).to_f32());
            let middle = if b.is_finite() { (a + b) / 2.0 } else { 65520.0 };
            [a, middle, middle.next_down(), -middle.next_up()]
        }));
        x.extend([0.0, -0.0, 65504.0, -65519.0, 65520.0, 1e30, -1e30, f32::INFINITY]);
        x.resize(x.len().next_multiple_of(4), 1.0);
        let ins = [values(&[x.len() / 4, 4], &x.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), false)];
        let mut execs = vec![Exec::Reference];
        execs.extend(devices().await);
        for exec in &execs {
            let got = run(exec, &ins, None, false, &StepParams::default(), &there_and_back).await.unwrap();
            for (x, g) in x.iter().zip(&got.outputs[0]) {
                let want = f16::from_f32(*x);
                let same = if want.is_finite() { *g == want.to_f64() } else { g.is_nan() };
                assert!(same, "{x:e} became {g:e}, not {want:e}, on {}", exec.info().name);
            }
        }
    }

    async fn odd_rows_stay_as_they_are() {
        let mut tape = Tape::new();
        let x = tape.input("x", fledgling::graph::Desc::f32(&[2, 3]));
        let error = tape.push1(Narrow, &[x]).unwrap_err();
        assert!(error.to_string().contains("even length"), "{error}");
    }
);
