//! Training by steps: JavaScript drives, so that it can pause, cancel and save between any two.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use super::bench::peaks;
use super::convert::{from_js, js_error, to_js};
use super::model::{Shared, WasmModel, future, set};
use super::rewards;
use crate::device::{self, DeviceOptions};
use crate::graph::Exec;
use crate::tune::rounds::Recorder;
use crate::tune::{Evaluator, GptBench, Sources, Training};
use crate::{Error, Result};

/// A training in progress.
#[wasm_bindgen(js_name = Trainer)]
pub struct WasmTrainer {
    shared: Rc<Shared>,
    /// Taken out while a step runs, so that nothing is borrowed over an await.
    trainer: Rc<RefCell<Option<Training>>>,
    /// Ends sampling in the middle of a round.
    stop: Rc<Cell<bool>>,
}

#[wasm_bindgen(js_class = Model)]
impl WasmModel {
    /// Readies a training: `args` are TRL's fields with `peft_config` and `adapter_name`, `rows` TRL's columns. Of methods that sample, `judges` say how
    /// good completions are: rules, and objects `{ name, call }`; `rollouts` is a function that is told every round's rows.
    #[allow(clippy::too_many_arguments, reason = "JavaScript calls it by place, from one line of the package")]
    pub fn trainer(
        &self,
        method: String,
        args: JsValue,
        rows: JsValue,
        checkpoint: Option<Vec<u8>>,
        held: JsValue,
        judges: Option<js_sys::Array>,
        rollouts: Option<js_sys::Function>,
    ) -> js_sys::Promise {
        let shared = self.0.clone();
        future(async move {
            let _turn = shared.turn("training")?;
            let args: Value = from_js("args", args)?;
            let rows: Vec<Value> = from_js("rows", rows)?;
            let held: Option<Vec<Value>> = from_js("evalDataset", held)?;
            let both = (&rows[..], held.as_deref());
            let stop = Rc::new(Cell::new(false));
            let asked = stop.clone();
            let told = |call: js_sys::Function| -> Recorder {
                Box::new(move |rows| {
                    let said = call.call1(&JsValue::UNDEFINED, &to_js(rows)?);
                    said.map(drop).map_err(|_| Error::config("rollouts", "the function threw"))
                })
            };
            let sources =
                Sources { judges: rewards::judges(judges)?, recorder: rollouts.map(told), stop: Some(Box::new(move || asked.get())) };
            let trainer = Training::with(&shared.loaded, &method, &args, both, checkpoint.as_deref(), sources).await?;
            let trainer = Rc::new(RefCell::new(Some(trainer)));
            Ok(WasmTrainer { shared: shared.clone(), trainer, stop }.into())
        })
    }

    /// Judges rows by an adapter (`null`: by the base model), as a training of that method would report them.
    pub fn evaluator(&self, method: String, args: JsValue, rows: JsValue, adapter: Option<String>) -> js_sys::Promise {
        let shared = self.0.clone();
        future(async move {
            let _turn = shared.turn("evaluation")?;
            let args: Value = from_js("args", args)?;
            let rows: Vec<Value> = from_js("rows", rows)?;
            let evaluator = Evaluator::new(&shared.loaded, &method, &args, &rows, adapter.as_deref())?;
            let evaluator = Rc::new(RefCell::new(Some(evaluator)));
            Ok(WasmEvaluator { shared: shared.clone(), evaluator }.into())
        })
    }
}

/// An evaluation in progress.
#[wasm_bindgen(js_name = Evaluator)]
pub struct WasmEvaluator {
    shared: Rc<Shared>,
    evaluator: Rc<RefCell<Option<Evaluator>>>,
}

#[wasm_bindgen(js_class = Evaluator)]
impl WasmEvaluator {
    /// Judges some of the rows: the numbers when those were the last, else `undefined`.
    pub fn step(&self) -> js_sys::Promise {
        let (shared, cell) = (self.shared.clone(), self.evaluator.clone());
        future(async move {
            let _turn = shared.turn("evaluation")?;
            let mut evaluator = take(&cell)?;
            let found = evaluator.step().await;
            cell.replace(Some(evaluator));
            let Some(found) = found? else { return Ok(JsValue::UNDEFINED) };
            let mut all = serde_json::to_value(&found).unwrap_or_default();
            // There is no run.
            if let Some(map) = all.as_object_mut() {
                map.remove("step");
                map.remove("epoch");
            }
            to_js(&all)
        })
    }
}

#[wasm_bindgen(js_class = Trainer)]
impl WasmTrainer {
    /// What a person should know before it runs: sentences.
    pub fn notes(&self) -> Vec<String> {
        self.trainer.borrow().as_ref().map_or_else(Vec::new, |t| t.notes().to_vec())
    }

    /// Gives up the round that is being sampled, if one is: `submit` then fails as `aborted`, and the prompts are still to come.
    pub fn abort(&self) {
        self.stop.set(true);
    }

    /// Why no further update is made, where a limit was met.
    pub fn stopped(&self) -> Option<String> {
        self.trainer.borrow().as_ref().and_then(|t| t.stopped().map(str::to_string))
    }

    /// Rounds whose adapters are kept, by number from 0.
    pub fn kept_rounds(&self) -> Vec<f64> {
        self.trainer.borrow().as_ref().map_or_else(Vec::new, |t| t.kept_rounds().into_iter().map(|n| n as f64).collect())
    }

    /// Makes the adapter of an earlier round the one that answers.
    pub fn take_round(&self, number: f64) -> std::result::Result<(), JsValue> {
        let trainer = self.trainer.borrow();
        let trainer = trainer.as_ref().ok_or_else(|| js_error(Error::Busy("a step of it is still running".into())))?;
        trainer.take_round(number as u64).map_err(js_error)
    }

    /// Hands the next update to the device: the number of updates so far; `undefined` when training is complete.
    pub fn submit(&self) -> js_sys::Promise {
        let (shared, cell) = (self.shared.clone(), self.trainer.clone());
        future(async move {
            let _turn = shared.turn("training")?;
            let mut trainer = take(&cell)?;
            let more = trainer.submit().await;
            let steps = trainer.steps();
            cell.replace(Some(trainer));
            Ok(if more? { (steps as f64).into() } else { JsValue::UNDEFINED })
        })
    }

    /// The earliest numbers that have not been reported; `undefined` where there are none, or, without `all`, where the device is better kept busy.
    pub fn report(&self, all: bool) -> js_sys::Promise {
        let (shared, cell) = (self.shared.clone(), self.trainer.clone());
        future(async move {
            let _turn = shared.turn("training")?;
            let mut trainer = take(&cell)?;
            let metrics = trainer.report(all).await;
            cell.replace(Some(trainer));
            let Some(metrics) = metrics? else { return Ok(JsValue::UNDEFINED) };
            let js = to_js(&metrics)?;
            set(js.unchecked_ref(), "totalSteps", &(metrics.total_steps as f64).into());
            Ok(js)
        })
    }

    /// The earliest evaluation that nobody was told of; `undefined` where there is none.
    pub fn evaluation(&self) -> std::result::Result<JsValue, JsValue> {
        let found = self.trainer.borrow_mut().as_mut().and_then(Training::evaluation);
        found.map_or(Ok(JsValue::UNDEFINED), |m| to_js(&m).map_err(js_error))
    }

    /// `{best, stoppedEarly}` of a run.
    pub fn outcome(&self) -> std::result::Result<JsValue, JsValue> {
        let trainer = self.trainer.borrow();
        let (best, early) = trainer.as_ref().map_or((None, false), |t| (t.best(), t.stopped_early()));
        let mut all = json!({ "stoppedEarly": early });
        if let Some(best) = best {
            all["best"] = json!(best);
        }
        to_js(&all).map_err(js_error)
    }

    /// What each kernel of a step takes: see [`Training::profile`]. For the benchmark, not in the middle of a training.
    pub fn profile(&self, fma: Option<f64>, copy: Option<f64>) -> js_sys::Promise {
        let (shared, cell) = (self.shared.clone(), self.trainer.clone());
        future(async move {
            let _turn = shared.turn("a profile")?;
            let mut trainer = take(&cell)?;
            let found = trainer.profile().await;
            cell.replace(Some(trainer));
            to_js(&found?.summary(peaks(fma, copy)))
        })
    }

    /// Everything needed to go on exactly here.
    pub fn checkpoint(&self) -> js_sys::Promise {
        let (shared, cell) = (self.shared.clone(), self.trainer.clone());
        future(async move {
            let _turn = shared.turn("saving a checkpoint")?;
            let mut trainer = take(&cell)?;
            let bytes = trainer.checkpoint().await;
            cell.replace(Some(trainer));
            Ok(js_sys::Uint8Array::from(&bytes?[..]).into())
        })
    }
}

fn take<T>(cell: &RefCell<Option<T>>) -> Result<T> {
    cell.take().ok_or_else(|| Error::Busy("a step of it is still running".into()))
}

/// Full training of a small GPT, for the benchmark.
#[wasm_bindgen(js_name = GptBench)]
pub struct WasmGptBench {
    exec: Exec,
    bench: Rc<RefCell<Option<GptBench>>>,
}

#[wasm_bindgen(js_class = GptBench)]
impl WasmGptBench {
    /// A model with random weights on the shared device, or on the processor.
    pub async fn create(device: Option<String>) -> std::result::Result<WasmGptBench, JsValue> {
        let create = async {
            let options = DeviceOptions { device: device.as_deref().unwrap_or("gpu").parse()?, ..DeviceOptions::default() };
            let exec = device::open(&options, super::device(None), |_| None).await?.exec;
            let bench = Rc::new(RefCell::new(Some(GptBench::new(&exec)?)));
            Ok(WasmGptBench { exec, bench })
        };
        create.await.map_err(js_error)
    }

    /// What each kernel of an update takes: see [`GptBench::profile`].
    pub fn profile(&self, fma: Option<f64>, copy: Option<f64>) -> js_sys::Promise {
        let cell = self.bench.clone();
        future(async move {
            let mut bench = take(&cell)?;
            let found = bench.profile().await;
            cell.replace(Some(bench));
            to_js(&found?.summary(peaks(fma, copy)))
        })
    }

    /// One update: its loss, dispatches and submits.
    pub fn step(&self) -> js_sys::Promise {
        let (cell, exec) = (self.bench.clone(), self.exec.clone());
        future(async move {
            let mut bench = take(&cell)?;
            let step = bench.step().await;
            cell.replace(Some(bench));
            exec.check()?;
            to_js(&step?)
        })
    }
}
