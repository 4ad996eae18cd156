//! Rounds that are sampled: what is recorded replays them and says what the run said; judges that fail; limits; rounds that are kept.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::AdapterChoice;
use fledgling::generate::Generator;
use fledgling::graph::Exec;
use fledgling::tune::rewards::{RewardBatch, RewardSource, Scored};
use fledgling::tune::rounds::Recorder;
use fledgling::tune::{Sources, StepMetrics, Training};
use serde_json::{Value, json};

use crate::harness::{cpu, devices};
use crate::tuning::{finish, llama_on, numbers};

type Judge = Rc<dyn Fn(&RewardBatch) -> Result<Vec<f64>>>;

/// A judge of the test's own.
struct Asked(Judge);

impl RewardSource for Asked {
    fn name(&self) -> &str {
        "low"
    }

    fn reads_text(&self) -> bool {
        false
    }

    fn score<'a>(&'a mut self, batch: &'a RewardBatch) -> Scored<'a> {
        Box::pin(std::future::ready((self.0)(batch)))
    }
}

/// In quarters, so that a number in a file is the number: small ids are good, and so is an end.
fn low(batch: &RewardBatch) -> Result<Vec<f64>> {
    let one = |(ids, cut): (&Vec<u32>, &bool)| {
        let small = ids.iter().filter(|id| **id < 48).count() * 4 / ids.len();
        small as f64 / 4.0 + if *cut { 0.0 } else { 0.5 }
    };
    Ok(batch.completion_ids.iter().zip(&batch.cut).map(one).collect())
}

fn prompts() -> Vec<Value> {
    // Whole rounds: a shorter last one is followed by the next pass, and in its record by the next row.
    (0..6u32).map(|i| json!({"prompt_ids": [3 + i, 9 + 2 * i, 40 + i], "answer": format!("a{i}")})).collect()
}

fn args(more: &Value) -> Value {
    let mut all = json!({
        "max_steps": 6, "learning_rate": 1e-2, "r": 4, "num_generations": 4, "per_device_train_batch_size": 8, "num_iterations": 2,
        "max_completion_length": 7, "beta": 0.04, "seed": 5, "init_lora_weights": false,
    });
    all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    all
}

fn judged(judge: impl Fn(&RewardBatch) -> Result<Vec<f64>> + 'static) -> Vec<Box<dyn RewardSource>> {
    vec![Box::new(Asked(Rc::new(judge)))]
}

fn recorder() -> (Rc<RefCell<Vec<Value>>>, Recorder) {
    let rows = Rc::new(RefCell::new(Vec::new()));
    let into = rows.clone();
    (
        rows,
        Box::new(move |new| {
            into.borrow_mut().extend(new.iter().cloned());
            Ok(())
        }),
    )
}

/// A sampled run: its updates, and what was recorded of it.
async fn sampled(exec: &Exec, method: &str, args: &Value) -> Result<(Vec<StepMetrics>, Vec<Value>, Training)> {
    let model = llama_on(exec).await?;
    let (rows, recorder) = recorder();
    let sources = Sources { judges: judged(low), recorder: Some(recorder), ..Sources::default() };
    let mut t = Training::with(&model, method, args, (&prompts()[..], None), None, sources).await?;
    let curve = finish(&mut t).await?;
    let rows = rows.borrow().clone();
    Ok((curve, rows, t))
}

fn bits(curve: &[StepMetrics]) -> Vec<Vec<u64>> {
    // A pass over the recorded rows is another one than over the prompts.
    curve.iter().map(|m| numbers(&StepMetrics { epoch: 0.0, ..m.clone() })).collect()
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array()
        .into_iter()
        .flatten()
        .flat_map(|v| v.as_array().map_or_else(|| vec![v.as_f64().expect("a number")], |_| floats(v)))
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fl_test!(
    async fn a_run_repeats_itself_and_its_record_gives_the_same_curve() -> Result<()> {
        for (exec, method, more) in [
            (&devices().await[0], "grpo", json!({})),
            (&cpu(), "grpo", json!({"num_iterations": 1, "temperature": 0.7, "reward_weights": [2]})),
            (&cpu(), "rloo", json!({})),
            (&cpu(), "online_dpo", json!({"num_generations": null, "num_iterations": null})),
        ] {
            let mut args = args(&more);
            if method == "online_dpo" {
                let own = args.as_object_mut().expect("an object");
                ["num_generations", "num_iterations", "max_completion_length"].iter().for_each(|k| drop(own.remove(*k)));
                own.extend(json!({"max_new_tokens": 7, "per_device_train_batch_size": 2}).as_object().expect("an object").clone());
            }
            let (curve, rows, _) = sampled(exec, method, &args).await?;
            assert_eq!(bits(&curve), bits(&sampled(exec, method, &args).await?.0), "{method}: twice the same");
            args["shuffle"] = json!(false);
            args.as_object_mut().expect("an object").remove("reward_weights");
            let model = llama_on(exec).await?;
            // As a file has them.
            let text: Vec<String> = rows.iter().map(Value::to_string).collect();
            let rows: Vec<Value> = text.iter().map(|t| serde_json::from_str(t).expect("JSON")).collect();
            let mut t = Training::new(&model, method, &args, &rows, None).await?;
            assert_eq!(bits(&finish(&mut t).await?), bits(&curve), "{method}: replayed");
            assert!(curve.iter().all(|m| m.metrics.get("rewards/low/mean").is_some()), "{method}");
        }
        Ok(())
    }

    /// What a run logs is what is computed from its record.
    async fn what_is_logged_can_be_computed_again() -> Result<()> {
        let (curve, rows, t) = sampled(&cpu(), "grpo", &args(&json!({}))).await?;
        let (firsts, rounds) = (curve.iter().step_by(2), rows.chunk_by(|a, b| a["round"] == b["round"]));
        for (number, (m, rows)) in firsts.zip(rounds).enumerate() {
            let near = |name: &str, want: f64, tolerance: f64| {
                let have = m.metrics.get(name).unwrap_or_else(|| panic!("no {name}"));
                assert!((have - want).abs() <= tolerance * want.abs().max(1.0), "round {number}: {name} is {have}, recorded are {want}");
            };
            let of = |name: &str| rows.iter().flat_map(|r| floats(&r[name])).collect::<Vec<f64>>();
            near("reward", mean(&of("rewards")), 1e-12);
            near("entropy", mean(&of("entropies")), 1e-6);
            // The first update of a round: the policy is the one that wrote.
            let k = |(p, r): (f64, f64)| (r - p).exp() - (r - p) - 1.0;
            near("kl", mean(&of("logprobs").into_iter().zip(of("ref_logprobs")).map(k).collect::<Vec<_>>()), 1e-5);
            for row in rows {
                let (r, a) = (floats(&row["rewards"]), floats(&row["advantages"]));
                let std = (r.iter().map(|v| (v - mean(&r)).powi(2)).sum::<f64>() / 3.0).sqrt();
                assert!(r.iter().zip(a).all(|(r1, a)| ((r1 - mean(&r)) / (std + 1e-4) - a).abs() < 1e-12));
            }
            // The adapter that wrote the round gives these log-probabilities, the base model those of the reference.
            if number == 0 {
                continue;
            }
            let model = Rc::new(llama_on(&cpu()).await?);
            model.adapters.add("then", t.round(number as u64 - 1).expect("it is kept"))?;
            let mut g = Generator::new(model)?;
            for (choice, name) in [(AdapterChoice::Named("then".into()), "logprobs"), (AdapterChoice::Base, "ref_logprobs")] {
                for row in rows {
                    for (completion, want) in
                        row["completion_ids"].as_array().expect("a list").iter().zip(row[name].as_array().expect("a list"))
                    {
                        let ids =
                            |v: &Value| v.as_array().expect("ids").iter().map(|i| i.as_u64().expect("an id") as u32).collect::<Vec<u32>>();
                        let (prompt, completion, want) = (ids(&row["prompt_ids"]), ids(completion), floats(want));
                        let nll = g.nll(&[&prompt[..], &completion].concat(), &choice).await?;
                        let have = &nll[prompt.len() - 1..];
                        assert!(have.len() == want.len() && have.iter().zip(want).all(|(h, w)| (f64::from(-h) - w).abs() < 1e-4), "{name}");
                    }
                }
            }
        }
        Ok(())
    }

    /// In the middle of a round that was sampled, and between two.
    async fn a_sampled_run_goes_on_bit_for_bit() -> Result<()> {
        let args = args(&json!({}));
        let (curve, ..) = sampled(&cpu(), "grpo", &args).await?;
        for at in [1, 2, 3] {
            let start = async |checkpoint: Option<Vec<u8>>| -> Result<Training> {
                let model = llama_on(&cpu()).await?;
                let sources = Sources { judges: judged(low), ..Sources::default() };
                Training::with(&model, "grpo", &args, (&prompts()[..], None), checkpoint.as_deref(), sources).await
            };
            let mut t = start(None).await?;
            for _ in 0..at {
                t.step().await?;
            }
            let bytes = t.checkpoint().await?;
            let mut t = start(Some(bytes)).await?;
            assert_eq!(bits(&finish(&mut t).await?), bits(&curve[at..]), "behind update {at}");
        }
        Ok(())
    }

    /// A judge that fails ends the run with the row, and the run goes on where it was when the judge is well again.
    async fn judges_that_fail_are_named_and_nothing_is_lost() -> Result<()> {
        let args = args(&json!({"num_iterations": 1, "max_steps": 3, "shuffle": false}));
        let (curve, ..) = sampled(&cpu(), "grpo", &args).await?;
        type Fails = fn(&RewardBatch) -> Result<Vec<f64>>;
        let cases: [(Fails, &str); 4] = [
            (|b| Ok(low(b)?[..5].to_vec()), "row 3: gave 5 numbers for 8"),
            (|b| Ok(low(b)?.into_iter().enumerate().map(|(i, v)| if i == 6 { f64::NAN } else { v }).collect()), "row 3: gave NaN"),
            (|b| Ok(vec![f64::INFINITY; b.len()]), "row 2: gave inf"),
            (|b| Err(b.fault("low", 4, "threw: no")), "row 3: threw: no"),
        ];
        for (fails, said) in cases {
            let ill = Rc::new(Cell::new(false));
            let now = ill.clone();
            let model = llama_on(&cpu()).await?;
            let judges = judged(move |b| if now.get() { fails(b) } else { low(b) });
            let mut t =
                Training::with(&model, "grpo", &args, (&prompts()[..], None), None, Sources { judges, ..Sources::default() }).await?;
            let mut got = vec![t.step().await?.expect("the first round")];
            ill.set(true);
            let e = t.step().await.expect_err("the judge fails");
            assert!(e.code() == "bad-reward" && e.to_string().contains("low") && e.to_string().contains(said), "{e}");
            ill.set(false);
            got.extend(finish(&mut t).await?);
            assert_eq!(bits(&got), bits(&curve), "{said}");
        }
        Ok(())
    }

    async fn who_is_to_be_asked_is_asked_for() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let start = async |method: &str, args: Value, rows: Vec<Value>, judges: usize| {
            let judges = (0..judges).flat_map(|_| judged(low)).collect();
            Training::with(&model, method, &args, (&rows[..], None), None, Sources { judges, ..Sources::default() })
                .await
                .err()
                .map(|e| e.to_string())
        };
        let replayed = crate::rounds::rows(4);
        for (method, args, rows, judges, said) in [
            ("grpo", json!({}), prompts(), 0, "reward: is missing"),
            ("grpo", json!({"reward_weights": [1, 2]}), prompts(), 1, "reward_weights: has 2 numbers for 1 judges"),
            ("grpo", json!({"per_device_train_batch_size": 4}), replayed.clone(), 1, "bring their rewards"),
            ("grpo", json!({"per_device_train_batch_size": 6, "num_generations": 4}), prompts(), 1, "no whole groups"),
            ("grpo", json!({"gradient_accumulation_steps": 2, "steps_per_generation": 1}), prompts(), 1, "no whole updates"),
            (
                "grpo",
                json!({"num_generations": 3, "per_device_train_batch_size": 3}),
                replayed.clone(),
                0,
                "completion_ids has 4 completions",
            ),
            ("grpo", json!({"loss_type": "cispo"}), replayed.clone(), 0, "loss_type: expected one of"),
            ("rloo", json!({"reward_clip_range": [1, 0]}), replayed.clone(), 0, "reward_clip_range: is [1.0, 0.0]"),
            ("online_dpo", json!({"loss_type": "ipo", "beta": 0}), prompts(), 1, "beta: is 0"),
            ("grpo", json!({"max_length": 64}), prompts(), 1, "prompts are never cut"),
            ("sft", json!({}), crate::tuning::sft_rows(), 1, "asks for no rewards"),
            ("grpo", json!({}), vec![prompts().remove(0), replayed[0].clone()], 1, "all are replayed, or none"),
            (
                "grpo",
                json!({}),
                vec![json!({"prompt_ids": [3], "completion_ids": [[4], [5]], "rewards": [1]})],
                0,
                "row 0: rewards has 1 numbers for 2",
            ),
            ("grpo", json!({}), vec![json!({"prompt_ids": [3], "completion_ids": [[4]], "rewards": [1]})], 0, "nothing to compare it with"),
            ("grpo", json!({"stop_kl": 1, "report_kl": false}), prompts(), 1, "stop_kl: needs kl/base"),
        ] {
            let found = start(method, args.clone(), rows, judges).await.unwrap_or_default();
            assert!(found.contains(said), "{method} {args}: {found:?} is not {said:?}");
        }
        Ok(())
    }

    /// A limit stops the run with its reason; what was learned is the adapter's, and that of any round can be taken.
    async fn limits_stop_and_rounds_are_kept() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let args = args(&json!({"num_iterations": 1, "stop_reward": -1, "max_steps": 4}));
        let mut t =
            Training::with(&model, "grpo", &args, (&prompts()[..], None), None, Sources { judges: judged(low), ..Sources::default() })
                .await?;
        let got = finish(&mut t).await?;
        assert_eq!((got.len(), t.steps(), t.total_steps()), (1, 1, 4));
        assert!(t.stopped().is_some_and(|r| r.contains("stopped behind update 1: reward is")), "{:?}", t.stopped());
        assert!(t.notes().iter().any(|n| n.contains("stop_reward -1")), "{:?}", t.notes());
        assert_eq!(model.adapters.active().as_deref(), Some("default"));

        let (_, _, t) = sampled(&cpu(), "grpo", &self::args(&json!({"num_iterations": 1, "max_steps": 4}))).await?;
        assert_eq!(t.kept_rounds(), [0, 1, 2, 3]);
        let [first, last] = [0, 3].map(|n| t.round(n).expect("kept").clone().into_lora("read").expect("it is").pairs[0].a.clone());
        assert!(first != last && t.take_round(9).expect_err("none").to_string().contains("0, 1, 2, 3"));
        t.take_round(0)?;
        Ok(())
    }
);
