//! Several adapters in one pass: the choice of one for every row, A and B side by side, virtual tokens and keys in front of a sequence's own.

use fledgling::nn::{Prefix, Prompt};
use fledgling::ops::adapter::{AdapterRows, Block, NO_ADAPTER, Stack};
use fledgling::ops::embedding::NO_ROW;

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{Rng, check, frozen, ints, rand};

/// (n, r) of each input side by side: (n, Σr).
fn side_by_side(n: usize, ranks: &[usize]) -> Stack {
    let all: usize = ranks.iter().sum();
    let block = |(input, r): (usize, &usize)| Block {
        input,
        rows: n,
        cols: *r,
        from: 0,
        from_stride: *r,
        to: ranks[..input].iter().sum(),
        to_stride: all,
    };
    Stack::new(&[n, all], ranks.iter().enumerate().map(block))
}

fl_test!(
    async fn adapter_rows() {
        let gpu = gpu().await;
        let mut rng = Rng(41);
        for (m, ranks) in [(1, vec![1]), (5, vec![3, 2]), (33, vec![4, 1, 8]), (70, vec![16, 16])] {
            let mut owners: Vec<u32> = ranks.iter().enumerate().flat_map(|(i, r)| vec![i as u32; *r]).collect();
            if owners.len() > 4 {
                owners[1] = NO_ADAPTER; // of another group: nobody's
            }
            let rows: Vec<u32> = (0..m as u32).map(|i| if i % 4 == 3 { NO_ADAPTER } else { i % 4 }).collect();
            let r = owners.len();
            let ins = [rand(&mut rng, &[m, r], 1.0), ints(&[m], &rows), ints(&[r], &owners), frozen(&mut rng, &[r], 2.0)];
            check(&gpu, &format!("adapter_rows {m}×{r}"), &ins, 1e-6, |t, v| Ok(vec![t.push1(AdapterRows, v)?])).await;
        }
    }

    async fn stack() {
        let gpu = gpu().await;
        let mut rng = Rng(42);
        for (n, ranks) in [(1, vec![1]), (5, vec![3, 2]), (33, vec![4, 1, 8])] {
            let ins: Vec<_> = ranks.iter().map(|r| rand(&mut rng, &[n, *r], 1.0)).collect();
            let op = side_by_side(n, &ranks);
            assert_eq!(op.blocks().len(), ranks.len(), "rows of one input are one copy");
            check(&gpu, &format!("stack {n}×{ranks:?}"), &ins, 1e-6, |t, v| Ok(vec![t.push1(op.clone(), v)?])).await;
        }
    }

    async fn adapter_rows_are_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("adapter_rows") {
            let ins = [case.input("h"), case.ints("rows"), case.ints("owners"), case.input("scales")];
            case.check(&gpu, &ins, &["h", "", "", ""], &["y"], |t, v| Ok(vec![t.push1(AdapterRows, v)?])).await;
        }
        for case in fixture::cases("stack") {
            let names = ["x0", "x1", "x2"];
            let names: Vec<&str> = names.into_iter().filter(|n| case.has(n)).collect();
            let ins: Vec<_> = names.iter().map(|n| case.input(n)).collect();
            let ranks: Vec<usize> = ins.iter().map(|i| i.desc.cols()).collect();
            let op = side_by_side(ins[0].desc.rows(), &ranks);
            case.check(&gpu, &ins, &names, &["y"], |t, v| Ok(vec![t.push1(op.clone(), v)?])).await;
        }
    }

    /// Two sequences of three tokens; the first has two rows of the table in front, the second one and a row of zeros.
    async fn keys_in_front_of_a_sequences_own() {
        let gpu = gpu().await;
        let mut rng = Rng(43);
        let rows = ints(&[4], &[1, 0, NO_ROW, 2]);
        let ins =
            [rand(&mut rng, &[3, 6], 1.0), rand(&mut rng, &[3, 6], 1.0), rand(&mut rng, &[6, 6], 1.0), rand(&mut rng, &[6, 6], 1.0), rows];
        check(&gpu, "prefix", &ins, 1e-6, |t, v| {
            let (k, v) = Prefix { keys: v[0], values: v[1], rows: v[4] }.join(t, 2, (v[2], v[3]))?;
            assert_eq!(t.desc(k).shape, [10, 6]);
            Ok(vec![k, v])
        })
        .await;
    }

    /// Five rows, of which two are virtual tokens, one of them the same as in the other sequence.
    async fn virtual_tokens_among_the_rows() {
        let gpu = gpu().await;
        let mut rng = Rng(44);
        let mut x = rand(&mut rng, &[5, 7], 1.0);
        for i in [0, 3] {
            x.data[i * 7..(i + 1) * 7].fill(0.0);
        }
        let ins = [x, rand(&mut rng, &[2, 7], 1.0), ints(&[5], &[1, NO_ROW, NO_ROW, 1, NO_ROW])];
        check(&gpu, "prompt", &ins, 1e-6, |t, v| Ok(vec![Prompt { table: v[1], rows: v[2] }.join(t, v[0])?])).await;
    }

    async fn what_does_not_fit_is_refused() {
        let mut tape = fledgling::graph::Tape::new();
        let f32s = |tape: &mut fledgling::graph::Tape, shape: &[usize]| tape.input("x", fledgling::graph::Desc::f32(shape));
        let (h, wide) = (f32s(&mut tape, &[3, 4]), f32s(&mut tape, &[3, 5]));
        let rows = tape.input("rows", fledgling::graph::Desc::u32(&[3]));
        let owners = tape.input("owners", fledgling::graph::Desc::u32(&[4]));
        let scales = f32s(&mut tape, &[4]);
        assert!(tape.push1(AdapterRows, &[h, rows, owners, scales]).is_ok());
        assert_eq!(tape.push1(AdapterRows, &[wide, rows, owners, scales]).err().map(|e| e.code()), Some("bad-shape"));
        assert_eq!(tape.push1(side_by_side(3, &[4, 5]), &[h, scales]).err().map(|e| e.code()), Some("bad-shape"));
        let prefix = Prefix { keys: h, values: h, rows };
        assert_eq!(prefix.join(&mut tape, 2, (h, h)).err().map(|e| e.code()), Some("bad-shape"));
    }
);
