//! What a method may ask of a training: hidden states, several seeds, parameters of its own, rows that come later, another reference.

use fledgling::Result;
use fledgling::data::{BatchShape, Example};
use fledgling::formats::peft::LoraAdapter;
use fledgling::graph::{Desc, Exec, Program, Tape, Tensor};
use fledgling::ops::loss::{METRICS, SftLoss};
use fledgling::tune::methods::METHODS;
use fledgling::tune::{
    Checkpoint, Method, Metrics, Micro, OwnParameters, Recorded, Sft, Signals, Target, Trainer, Training, TrainingArguments,
};
use serde_json::json;

use crate::harness::{cpu, devices};
use crate::tuning::{dpo_args, dpo_rows, kto_rows, llama_on, numbers};

fn example(i: u32, n: u32) -> Example {
    let ids: Vec<u32> = (0..n).map(|t| (7 * i + 3 * t * t + t) % 90 + 3).collect();
    Example { labels: ids.clone(), ids, ..Example::default() }
}

fn args(steps: i64) -> TrainingArguments {
    TrainingArguments { learning_rate: 1e-2, max_steps: steps, per_device_train_batch_size: 2, ..TrainingArguments::default() }
}

/// Supervised fine-tuning with a score head (1, C) beside it, whose gradient at every judged position is 1: its weights become minus the sum of
/// the hidden states, and the states themselves are moved as well.
struct Scored {
    sft: Sft,
    head: Tensor,
    learning_rate: Option<f64>,
}

impl Scored {
    fn new(exec: &Exec, width: usize, learning_rate: Option<f64>) -> Result<Scored> {
        let data: Vec<f64> = (0..width).map(|i| f64::from(i as u32 % 7) * 0.01 - 0.03).collect();
        let head = Tensor::from_f64(exec, "score.weight", &[1, width], &data)?;
        Ok(Scored { sft: Sft::new((0..5).map(|i| example(i, 5 + 3 * i)).collect()), head, learning_rate })
    }
}

impl Method for Scored {
    fn name(&self) -> &'static str {
        "scored"
    }

    fn digest(&self) -> String {
        self.sft.digest()
    }

    fn rows(&self) -> usize {
        self.sft.rows()
    }

    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        self.sft.examples(rows)
    }

    fn key(&self, shape: BatchShape) -> BatchShape {
        self.sft.key(shape)
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let logps = signals.logps(tape)?;
        let weights = tape.input("weights", Desc::f32(&[shape.rows]));
        let scale = tape.input("numbers", Desc::f32(&[1]));
        let out = tape.push(SftLoss::default(), &[logps, weights, scale])?;
        let scores = signals.scores(tape, &self.head)?;
        let slope = tape.input("slope", Desc::f32(&[shape.rows, 1]));
        Ok(Recorded { metrics: out[0], seeds: vec![(logps, out[1]), (scores, slope)] })
    }

    fn metric_words(&self, _: &BatchShape) -> usize {
        METRICS
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        self.sft.write(program, micro, all);
        let mut slope = vec![0f32; micro.shape.rows];
        slope[..micro.batch.counted].fill(1e-2);
        program.write("slope", &slope);
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        self.sft.metrics(micros, words)
    }

    fn parameters(&self) -> Vec<OwnParameters> {
        vec![OwnParameters { name: "score", params: self.head.clone(), learning_rate: self.learning_rate, weight_decay: Some(0.0) }]
    }
}

fl_test!(
    /// A head of the method's own is trained at its own rate, together with the adapter, and goes on from a checkpoint bit for bit.
    async fn a_method_may_have_a_head_and_two_seeds() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            let width = model.model.config().hidden_size;
            let ready = |rate: Option<f64>| -> Result<(Trainer, Tensor)> {
                let config = serde_json::from_value(json!({"r": 4, "target_modules": "all-linear"})).expect("a config");
                let target = Target::Adapter { set: model.adapters.fresh(&config, 3)?, name: "x".into() };
                let scored = Scored::new(&exec, width, rate)?;
                let head = scored.head.clone();
                Ok((Trainer::new(model.model.clone(), target, None, args(4), Box::new(scored))?, head))
            };
            // Adam's first update is the rate, whatever the gradient: three times the rate goes three times as far.
            let mut moved = Vec::new();
            for rate in [None, Some(3e-2)] {
                let (mut t, head) = ready(rate)?;
                let before = head.to_f64(&exec).await?;
                t.step().await?;
                let after = head.to_f64(&exec).await?;
                moved.push(before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max));
            }
            assert!((moved[0] - 1e-2).abs() < 1e-4 && (moved[1] - 3e-2).abs() < 3e-4, "{moved:?}");

            let (mut whole, head) = ready(Some(3e-2))?;
            let mut curve = Vec::new();
            while let Some(m) = whole.step().await? {
                curve.push(numbers(&m));
            }
            let end = head.to_f64(&exec).await?;
            let (mut first, _) = ready(Some(3e-2))?;
            first.step().await?;
            first.step().await?;
            let bytes = first.checkpoint().await?;
            let (mut second, head) = ready(Some(3e-2))?;
            second.restore(&Checkpoint::parse(&bytes)?)?;
            for want in &curve[2..] {
                assert_eq!(&numbers(&second.step().await?.expect("four")), want);
            }
            assert_eq!(head.to_f64(&exec).await?, end);
        }
        Ok(())
    }

    /// Rows that come in the middle of an epoch take part from the next one on, also behind a checkpoint.
    async fn rows_may_come_later() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let ready = |rows: u32| -> Result<Trainer> {
            let config = serde_json::from_value(json!({"r": 4, "target_modules": ["q_proj", "v_proj"]})).expect("a config");
            let target = Target::Adapter { set: model.adapters.fresh(&config, 3)?, name: "x".into() };
            let sft = Sft::new((0..rows).map(|i| example(i, 5 + i)).collect());
            Trainer::new(model.model.clone(), target, None, args(7), Box::new(sft))
        };
        let more = || (3..7).map(|i| example(i, 5 + i)).collect::<Vec<_>>();
        let mut t = ready(3)?;
        let mut curve = vec![numbers(&t.step().await?.expect("seven"))];
        t.method_mut::<Sft>().expect("it is").append(more());
        let mut bytes = Vec::new();
        let mut epochs = Vec::new();
        while let Some(m) = t.step().await? {
            epochs.push(m.epoch);
            curve.push(numbers(&m));
            if m.step == 2 {
                bytes = t.checkpoint().await?;
            }
        }
        // Two updates over three rows, then four over seven.
        assert_eq!(epochs[0], 1.0);
        assert!((epochs[1] - (1.0 + 2.0 / 7.0)).abs() < 1e-12 && (epochs[4] - 2.0).abs() < 1e-12, "{epochs:?}");
        let mut rest = ready(7)?;
        rest.restore(&Checkpoint::parse(&bytes)?)?;
        for want in &curve[2..] {
            assert_eq!(&numbers(&rest.step().await?.expect("seven")), want);
        }
        // Between the growth and the end of the epoch, the epoch has fewer rows than the dataset.
        let mut t = ready(3)?;
        t.step().await?;
        t.method_mut::<Sft>().expect("it is").append(more());
        let bytes = t.checkpoint().await?;
        let mut rest = ready(7)?;
        rest.restore(&Checkpoint::parse(&bytes)?)?;
        for want in &curve[1..] {
            assert_eq!(&numbers(&rest.step().await?.expect("seven")), want);
        }
        Ok(())
    }

    /// `reference` says what a policy is measured against; without it, an adapter that changes the model is.
    async fn the_reference_can_be_chosen() -> Result<()> {
        let exec = cpu();
        let first = async |method: &str, reference: Option<&str>| -> Result<Metrics> {
            let model = llama_on(&exec).await?;
            let config = include_str!("../fixtures/training/adapters/default/adapter_config.json");
            let weights = include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors");
            model.adapters.add("default", &LoraAdapter::read(config, weights)?)?;
            let mut args = dpo_args();
            if let Some(r) = reference {
                args["reference"] = json!(r);
            }
            let rows = if method == "kto" { kto_rows() } else { dpo_rows() };
            Ok(Training::new(&model, method, &args, &rows, None).await?.step().await?.expect("the first").metrics)
        };
        for method in ["dpo", "kto"] {
            let (auto, init, base) = (first(method, None).await?, first(method, Some("init")).await?, first(method, Some("base")).await?);
            assert_eq!(auto, init, "{method}");
            // Equal but for rounding: KTO's references come from other batches than its updates.
            let own = init.get("rewards/margins").expect("both kinds");
            assert!(own.abs() < 1e-4, "{method}: the adapter is its own reference: {own}");
            assert!(base.get("rewards/margins").expect("both kinds").abs() > 1e-3, "{method}: {base:?}");
        }
        Ok(())
    }

    /// Every value that an update reports stands in the table, in its order.
    async fn metrics_are_those_of_the_table() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        for m in METHODS {
            let rows = match m.name {
                "sft" => crate::tuning::sft_rows(),
                "kto" => kto_rows(),
                "grpo" | "rloo" | "online_dpo" => crate::rounds::rows(if m.name == "online_dpo" { 2 } else { 4 }),
                "ppo" => crate::ppo::rows(),
                _ => dpo_rows(),
            };
            // With what all metrics are there.
            let mut args = json!({"max_steps": 1, "per_device_train_batch_size": 4, "adapter_name": m.name});
            if m.fields.iter().any(|f| f.name == "beta") {
                args["beta"] = json!(0.1);
            }
            let step = Training::new(&model, m.name, &args, &rows, None).await?.step().await?.expect("one");
            assert!(m.name == "reward" || step.metrics.get("entropy").is_some_and(|e| e > 0.0), "{}", m.name);
            let got: Vec<&str> = step.metrics.iter().map(|v| v.0).collect();
            let want: Vec<&str> = m.own_metrics().map(|v| v.name).collect();
            assert_eq!(got, want, "{}", m.name);
            let written = serde_json::to_value(&step).expect("numbers");
            for metric in m.all_metrics() {
                assert!(written[metric.name].is_number(), "{}: {} in {written}", m.name, metric.name);
            }
        }
        Ok(())
    }

    /// A start does what it says, and what is saved says it too.
    async fn adapters_start_as_they_say() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        for (start, b_is_zero) in [(json!(true), true), (json!(false), false), (json!("gaussian"), true), (json!("orthogonal"), false)] {
            let args = json!({"max_steps": 1, "learning_rate": 0, "init_lora_weights": start, "r": 8, "adapter_name": "x"});
            Training::new(&model, "sft", &args, &crate::tuning::sft_rows(), None).await?.step().await?;
            let (config, weights) = model.adapters.save("x").await?;
            assert_eq!(serde_json::from_str::<serde_json::Value>(&config).expect("JSON")["init_lora_weights"], start);
            let adapter = LoraAdapter::read(&config, &weights)?;
            let all: Vec<f32> = adapter.pairs.iter().flat_map(|p| p.a.iter().copied()).collect();
            let deviation = (all.iter().map(|v| f64::from(v * v)).sum::<f64>() / all.len() as f64).sqrt();
            for p in &adapter.pairs {
                assert_eq!(p.b.iter().all(|v| *v == 0.0), b_is_zero, "{start}");
                if start == "orthogonal" {
                    let product = |o: usize, c: usize| (0..8).map(|i| p.b[o * 8 + i] * p.a[i * p.in_features + c]).sum::<f32>();
                    assert!((0..p.out_features).all(|o| (0..p.in_features).all(|c| product(o, c).abs() < 1e-6)), "{start}");
                }
            }
            assert!(start != "gaussian" || (deviation - 1.0 / 8.0).abs() < 0.01, "{deviation}");
            model.adapters.remove("x");
        }
        let args = json!({"init_lora_weights": "orthogonal", "r": 3});
        let e = Training::new(&model, "sft", &args, &crate::tuning::sft_rows(), None).await.err().expect("an odd rank");
        assert!(e.code() == "bad-config" && e.to_string().contains("needs an even rank"), "{e}");
        Ok(())
    }

    /// A second training of an adapter takes it as it is: what else is asked of it is refused, in all its ways of saying it.
    async fn an_adapter_that_is_continued_stays_what_it_is() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let rows = crate::tuning::sft_rows();
        let first = json!({"max_steps": 1, "peft_config": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "lora_dropout": 0.5}});
        let mut t = Training::new(&model, "sft", &first, &rows, None).await?;
        t.step().await?;
        let checkpoint = t.checkpoint().await?;
        for (peft, wrong) in [
            (json!({}), &[][..]),
            (json!({"r": 4.0, "lora_alpha": 8}), &[]),
            (json!({"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}), &[]),
            (json!({"rank_pattern": {"q_proj": 4}}), &[]),
            (
                json!({"r": 8, "lora_dropout": 0.1, "init_lora_weights": "gaussian"}),
                &["r: is 8, ", "lora_dropout: is 0.1", "init_lora_weights: is "],
            ),
            (json!({"target_modules": ["q_proj"]}), &["target_modules: is "]),
            (json!({"use_rslora": true}), &["use_rslora: is true"]),
        ] {
            for from in [None, Some(&checkpoint[..])] {
                let args = json!({"max_steps": 1, "peft_config": peft});
                match Training::new(&model, "sft", &args, &rows, from).await {
                    Ok(_) => assert!(wrong.is_empty(), "{peft} passes in silence"),
                    Err(e) => assert!(!wrong.is_empty() && wrong.iter().all(|w| e.to_string().contains(w)), "{peft}: {e}"),
                }
            }
        }
        // Without dropout, as TRL has it: another shape of the same adapter.
        let mut t = Training::new(&model, "orpo", &json!({"max_steps": 1, "disable_dropout": true}), &dpo_rows(), None).await?;
        t.step().await?;
        let (config, _) = model.adapters.save("default").await?;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&config).expect("JSON")["lora_dropout"], 0.0);
        let dropped = json!({"adapter_name": "y", "lora_dropout": 0.5, "disable_dropout": true});
        let t = Training::new(&model, "dpo", &dropped, &dpo_rows(), None).await?;
        assert!(t.notes()[0].contains("lora_dropout 0.5 has no effect"), "{:?}", t.notes());
        Ok(())
    }
);
