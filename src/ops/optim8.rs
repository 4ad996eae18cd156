//! AdamW with its moments in 8 bits, rounded block by block to a dynamic map (Dettmers, Lewis, Shleifer & Zettlemoyer 2022).

use super::optim::{Group, clip};
use super::{row_grid, serial_rows};
use crate::cpu::kernels::optim8 as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Cost, CpuIo, Desc, Exec, HostIo, Lower, Op, Tape, Tensor, Val};
use crate::{Error, Result};

/// Elements of a block: what bitsandbytes has for its 8-bit optimizers.
pub const BLOCK: usize = 256;

/// Words that the codes of a block take, m's and v's.
const WORDS: usize = BLOCK / 4 * 2;

/// The values that codes stand for, rising: 256 of m, which has a sign, then 256 of v. Between 1e-7 and 1 each power of ten has twice as many values
/// as the one below it; 0 and 1 are there as well.
pub fn dynamic_map() -> Vec<f32> {
    let half = |signed: bool| {
        let mut all = vec![0.0, 1.0];
        for power in 0..7 {
            let n = if signed { 1usize << power } else { 2 << power };
            for k in 0..n {
                // Middles of n equal parts of 0.1…1.
                let value = (0.1 + 0.9 * (k as f64 + 0.5) / n as f64) * 10f64.powi(power - 6);
                all.push(value);
                if signed {
                    all.push(-value);
                }
            }
        }
        all.sort_by(f64::total_cmp);
        all
    };
    [half(true), half(false)].concat().into_iter().map(|v| v as f32).collect()
}

/// Both moments of some flat buffer.
pub struct Moments8 {
    /// (blocks, 2) u32: first element and elements of each block.
    pub blocks: Tensor,
    /// (2, 256): see [`dynamic_map`].
    pub map: Tensor,
    /// (blocks, 128) u32: four codes of m a word, then those of v.
    pub codes: Tensor,
    /// (blocks, 2): the largest |m| and the largest v.
    pub absmax: Tensor,
}

impl Moments8 {
    /// Zero moments for `parts`, (first element, elements) each: blocks begin where parts do, so that none holds values of two tensors. Gives for
    /// each part its first block and how many there are, too.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn zeros(exec: &Exec, parts: &[(usize, usize)]) -> Result<(Moments8, Vec<(usize, usize)>)> {
        let (mut table, mut of) = (Vec::new(), Vec::new());
        for &(start, len) in parts {
            of.push((table.len() / 2, len.div_ceil(BLOCK)));
            for at in (0..len).step_by(BLOCK) {
                table.extend([(start + at) as f64, (len - at).min(BLOCK) as f64]);
            }
        }
        let n = (table.len() / 2).max(1);
        table.resize(n * 2, 0.0);
        let u32s = |name: &str, cols: usize| Tensor::zeros(exec, name, Desc::u32(&[n, cols]));
        let map: Vec<f64> = dynamic_map().into_iter().map(f64::from).collect();
        let moments = Moments8 {
            blocks: u32s("blocks", 2)?,
            map: Tensor::from_f64(exec, "map", &[2, BLOCK], &map)?,
            codes: u32s("exp_avg_codes", WORDS)?,
            absmax: Tensor::zeros(exec, "exp_avg_absmax", Desc::f32(&[n, 2]))?,
        };
        moments.blocks.set_f64(exec, &table);
        Ok((moments, of))
    }
}

/// One step of AdamW on blocks `first..first + blocks`, as [`super::optim::AdamW`] but for how the moments are kept. Inputs: norm (1), the table of
/// blocks and the map. Outputs, all in place: params, grads, codes, absmax.
#[derive(Clone, Copy, Debug)]
pub struct AdamW8 {
    pub first: usize,
    pub blocks: usize,
    pub group: Group,
}

impl AdamW8 {
    /// Records the step. `flats` are params and grads.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are not so many blocks.
    pub fn record(tape: &mut Tape, (first, blocks): (usize, usize), group: Group, norm: Val, flats: [Val; 2], m: &Moments8) -> Result<()> {
        let (table, map) = (tape.tensor(&m.blocks), tape.tensor(&m.map));
        let state = [tape.tensor(&m.codes), tape.tensor(&m.absmax)];
        let outs = [flats[0], flats[1], state[0], state[1]].map(|v| (v, true));
        tape.push_into(AdamW8 { first, blocks, group }, &[norm, table, map], &outs)
    }

    /// Two searches of eight comparisons beside AdamW's own operations.
    fn work(&self) -> Cost {
        let n = (self.blocks * BLOCK) as f64;
        Cost { flops: 50.0 * n, bytes: 20.0 * n }
    }
}

/// The code whose value is nearest to `x`, of two equally near ones the lower; `v` that is not 0 does not become 0.
fn code(x: f64, top: f64, map: &[f64], positive: bool) -> u32 {
    let y = if top > 0.0 { x / top } else { 0.0 };
    let n = (1..BLOCK).take_while(|i| y > 0.5 * (map[i - 1] + map[*i])).count();
    n.max(usize::from(positive && x > 0.0)) as u32
}

impl Op for AdamW8 {
    fn name(&self) -> &'static str {
        "adamw_8bit"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Err(Error::shape("adamw_8bit", format!("changes in place what is there, and makes nothing of {} inputs", inputs.len())))
    }

    fn infer_into(&self, inputs: &[&Desc], outputs: &[&Desc]) -> Result<Vec<Desc>> {
        let there = inputs[1].rows();
        let fits = outputs[2].len() == there * WORDS && outputs[3].len() == there * 2 && outputs[0].len() == outputs[1].len();
        if inputs[0].len() != 1 || !fits || self.first.checked_add(self.blocks).is_none_or(|end| end > there) {
            let (first, n) = (self.first, self.blocks);
            return Err(Error::shape("adamw_8bit", format!("blocks {first}+{n} of {there}, norm {:?}", inputs[0].shape)));
        }
        Ok(outputs.iter().map(|d| (*d).clone()).collect())
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let key = KernelKey::new("adamw_8bit").flag("SERIAL", serial_rows(cx.gpu())).flag("DECAY", self.group.decay != 0.0);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.output(0), &cx.output(1), &cx.output(2), &cx.output(3)];
        let params = [self.first as u32, self.blocks as u32, self.group.rate.to_bits(), self.group.decay.to_bits()];
        let grid = row_grid(cx.gpu(), self.blocks);
        cx.dispatch(key, &params, &bufs, grid);
        cx.cost(self.work());
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let s = io.step;
        let f = |v: f32| f64::from(v);
        let (norm, table, map) = (io.input(0)[0], io.input(1), io.input(2));
        let rate = f(s.learning_rate) * f(self.group.rate);
        let scale = clip(s, norm);
        for b in self.first..self.first + self.blocks {
            let (start, len) = (table[2 * b] as usize, table[2 * b + 1] as usize);
            if !norm.is_finite() {
                io.outputs[1][start..start + len].fill(0.0);
                continue;
            }
            let word = |i: usize| 128 * b + i / 4;
            let old = |io: &HostIo<'_>, i: usize, at: usize| {
                let code = (io.outputs[2][word(i) + 64 * at] as u32 >> (8 * (i % 4))) & 255;
                map[BLOCK * at + code as usize] * io.outputs[3][2 * b + at]
            };
            let mut new = vec![[0.0; 2]; BLOCK];
            for (i, new) in new.iter_mut().enumerate().take(len) {
                let g = std::mem::take(&mut io.outputs[1][start + i]) * scale;
                let m = f(s.beta1) * old(io, i, 0) + (1.0 - f(s.beta1)) * g;
                let v = f(s.beta2) * old(io, i, 1) + (1.0 - f(s.beta2)) * g * g;
                *new = [m, v];
                let x = io.outputs[0][start + i] * (1.0 - rate * f(self.group.decay));
                io.outputs[0][start + i] = x - rate / f(s.correction1) * m / (v.sqrt() / f(s.correction2).sqrt() + f(s.epsilon));
            }
            for at in 0..2 {
                let top = new.iter().fold(0.0f64, |top, n| top.max(n[at].abs()));
                io.outputs[3][2 * b + at] = top;
                let map = &map[BLOCK * at..BLOCK * (at + 1)];
                for (k, four) in new.chunks(4).enumerate() {
                    let codes = four.iter().enumerate().map(|(i, n)| code(n[at], top, map, at == 1) << (8 * i));
                    io.outputs[2][128 * b + 64 * at + k] = f64::from(codes.fold(0, |all, c| all | c));
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (norm, table, map) = (f64::from(io.f32(0)[0]), io.u32(1), io.f32(2));
        let [p, g] = [io.out(0), io.out(1)];
        let (codes, absmax) = (io.out_u32(2), io.out(3));
        let all = self.first..self.first + self.blocks;
        let blocks =
            kernels::blocks(&table[2 * all.start..2 * all.end], p, g, &mut codes[WORDS * all.start..], &mut absmax[2 * all.start..]);
        if !norm.is_finite() {
            blocks.into_iter().for_each(|b| b.grads.fill(0.0));
            return Ok(());
        }
        kernels::adamw(io.pool(), blocks, map, &super::optim::step(io.step(), norm, self.group));
        Ok(())
    }

    fn cost(&self, _: &CpuIo<'_>) -> Cost {
        self.work()
    }
}
