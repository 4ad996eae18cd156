//! Reads `tests/fixtures/ops.safetensors`: inputs, outputs and gradients computed by PyTorch in f64 (see tests/oracle/README.md).

use fledgling::Result;
use fledgling::gpu::Gpu;
use fledgling::graph::{Desc, Exec, StepParams, Tape, Val};
use fledgling::tensor::DType;
use serde_json::Value;

use crate::opcase::{In, close, packed, run};

static FILE: &[u8] = include_bytes!("../fixtures/ops.safetensors");
static CASES: &str = include_str!("../fixtures/ops.json");

/// One case of one op.
pub struct Case {
    pub op: String,
    pub case: String,
    pub params: Value,
    header: std::rc::Rc<Value>,
}

/// All cases of an op; panics when there is none, so that a renamed fixture is noticed.
pub fn cases(op: &str) -> Vec<Case> {
    let size = u64::from_le_bytes(FILE[..8].try_into().unwrap()) as usize;
    let header = std::rc::Rc::new(serde_json::from_slice::<Value>(&FILE[8..8 + size]).unwrap());
    let all: Value = serde_json::from_str(CASES).unwrap();
    let found: Vec<Case> = all["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["op"] == op)
        .map(|c| Case { op: op.into(), case: c["case"].as_str().unwrap().into(), params: c["params"].clone(), header: header.clone() })
        .collect();
    assert!(!found.is_empty(), "no fixture of {op}");
    found
}

impl Case {
    fn entry(&self, name: &str) -> &Value {
        &self.header[format!("{}/{}/{name}", self.op, self.case)]
    }

    pub fn has(&self, name: &str) -> bool {
        !self.entry(name).is_null()
    }

    /// Text parameter of the case ("" where there is none).
    pub fn text_param(&self, name: &str) -> &str {
        self.params[name].as_str().unwrap_or("")
    }

    /// Losses with their weights: TRL's `loss_type` and `loss_weights`.
    pub fn losses(&self) -> Vec<(&str, f32)> {
        let kinds = match &self.params["loss_type"] {
            serde_json::Value::Array(list) => list.iter().filter_map(|k| k.as_str()).collect(),
            one => vec![one.as_str().unwrap_or("")],
        };
        let weight = |i: usize| self.params["loss_weights"][i].as_f64().unwrap_or(1.0) as f32;
        kinds.into_iter().enumerate().map(|(i, kind)| (kind, weight(i))).collect()
    }

    pub fn usize_param(&self, name: &str) -> usize {
        self.params[name].as_u64().unwrap_or_else(|| panic!("{}: no size {name}", self.case)) as usize
    }

    pub fn f32_param(&self, name: &str) -> f32 {
        self.params[name].as_f64().unwrap_or_else(|| panic!("{}: no number {name}", self.case)) as f32
    }

    pub fn bytes(&self, name: &str) -> &'static [u8] {
        let size = u64::from_le_bytes(FILE[..8].try_into().unwrap()) as usize;
        let at = |i: usize| {
            self.entry(name)["data_offsets"][i].as_u64().unwrap_or_else(|| panic!("{}/{}: no {name}", self.op, self.case)) as usize
        };
        &FILE[8 + size + at(0)..8 + size + at(1)]
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.entry(name)["shape"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
    }

    /// Values of an F32 or I32 tensor.
    pub fn data(&self, name: &str) -> Vec<f64> {
        let words = self.bytes(name).chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
        match self.entry(name)["dtype"].as_str() {
            Some("F32") => words.map(|b| f64::from(f32::from_le_bytes(b))).collect(),
            Some("I32") => words.map(|b| f64::from(i32::from_le_bytes(b))).collect(),
            other => panic!("{name}: {other:?}"),
        }
    }

    /// An f32 input; it needs a gradient where the fixture has one.
    pub fn input(&self, name: &str) -> In {
        In { desc: Desc::f32(&self.shape(name)), data: self.data(name), bytes: None, grad: self.has(&format!("d{name}")) }
    }

    /// As [`Case::input`], seen in another shape.
    pub fn input_as(&self, name: &str, shape: &[usize]) -> In {
        In { desc: Desc::f32(shape), ..self.input(name) }
    }

    /// The frozen weight `w`: its file bytes `w_raw` where the case has a packed one, otherwise as [`Case::input`].
    pub fn weight(&self) -> In {
        let shape = self.shape("w");
        if self.has("w_raw") { packed(dtype(self.text_param("dtype")), &shape, self.bytes("w_raw").to_vec()) } else { self.input("w") }
    }

    /// Integers; −100 (no label) becomes 0xffffffff.
    pub fn ints(&self, name: &str) -> In {
        let data: Vec<f64> = self.data(name).into_iter().map(|v| if v < 0.0 { f64::from(u32::MAX) } else { v }).collect();
        In { desc: Desc::u32(&[data.len()]), data, bytes: None, grad: false }
    }

    /// Runs on both executors and compares outputs, and the gradients of the inputs in `grads` (name of each input, or "" for none).
    /// `outputs` are the fixture's names of what `build` returns ("" = not compared).
    pub async fn check(
        &self,
        gpu: &Gpu,
        ins: &[In],
        grads: &[&str],
        outputs: &[&str],
        build: impl Fn(&mut Tape, &[Val]) -> Result<Vec<Val>>,
    ) {
        let seeds: Vec<String> = outputs.iter().map(|o| format!("d{o}")).collect();
        let wanted: Vec<String> = grads.iter().map(|g| format!("d{g}")).collect();
        let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        self.check_named(gpu, ins, &seeds, outputs, &wanted, build).await;
    }

    /// As [`Case::check`] with every name given: the tensors fed in as upstream gradients, what the outputs must be, and what the
    /// gradients of the inputs must be. One product read in another transposition has its operands in other places.
    pub async fn check_named(
        &self,
        gpu: &Gpu,
        ins: &[In],
        seeds: &[&str],
        outputs: &[&str],
        grads: &[&str],
        build: impl Fn(&mut Tape, &[Val]) -> Result<Vec<Val>>,
    ) {
        let step = StepParams::default();
        let any = ins.iter().any(|i| i.grad);
        let seeds: Vec<Vec<f64>> = seeds.iter().map(|s| if self.has(s) { self.data(s) } else { Vec::new() }).collect();
        for (exec, tol, name) in [
            (Exec::Reference, 2e-6, "reference"),
            (Exec::Gpu(gpu.clone()), 2e-5, "gpu"),
            (Exec::Gpu(crate::harness::other_form().await), 2e-5, "gpu, other kernels"),
            (crate::harness::cpu(), 2e-5, "cpu"),
        ] {
            let what = format!("{}/{} on {name}", self.op, self.case);
            let seeds = (any && seeds.iter().all(|s| !s.is_empty())).then_some(seeds.as_slice());
            let got = run(&exec, ins, seeds, false, &step, &build).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            for (g, o) in got.outputs.iter().zip(outputs).filter(|(_, o)| !o.is_empty()) {
                close(&format!("{what}: {o}"), g, &self.data(o), tol);
            }
            for (i, input) in grads.iter().enumerate().filter(|(i, _)| ins[*i].grad) {
                let g = got.grads[i].as_ref().expect("asked for");
                close(&format!("{what}: {input}"), g, &self.data(input), tol);
            }
        }
    }
}

/// The data type a fixture names.
pub fn dtype(name: &str) -> DType {
    match name {
        "f32" => DType::F32,
        "f16" => DType::F16,
        "bf16" => DType::BF16,
        "q4_0" => DType::Q4_0,
        "q4_1" => DType::Q4_1,
        "q8_0" => DType::Q8_0,
        other => panic!("fixture dtype {other}"),
    }
}
