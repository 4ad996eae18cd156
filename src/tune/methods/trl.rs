//! What TRL's and Transformers' configurations hold beside the fields of the table: a file that they wrote, or that was written for them, can be
//! used, and what it asks for that is not there is told.
//!
//! `tests/fixtures/fields.json` has every field of TRL 1.16 at its default; a test looks for each of them here or among the fields.

/// A field that is taken at these values only (as JSON, the default first), and what to say of any other.
pub struct Fixed {
    pub name: &'static str,
    pub values: &'static [&'static str],
    pub hint: &'static str,
}

/// One row of a table of [`Fixed`].
pub const fn fixed(name: &'static str, values: &'static [&'static str], hint: &'static str) -> Fixed {
    Fixed { name, values, hint }
}

const SAVING: &str = "the command line takes it; elsewhere checkpoints are asked for where the training is started";
const LOGGING: &str = "the command line takes it; elsewhere every update is reported";

/// Of any method that has no such field.
pub const FIXED: &[Fixed] = &[
    fixed("optim_args", &["null"], "adam_beta1, adam_beta2 and adam_epsilon are fields"),
    fixed("optim_target_modules", &["null"], "all weights of the adapter learn"),
    fixed("lr_scheduler_kwargs", &["null", "{}"], ""),
    fixed("label_smoothing_factor", &["0"], ""),
    fixed("neftune_noise_alpha", &["null"], ""),
    fixed("router_aux_loss_coef", &["null", "0"], ""),
    fixed("auto_find_batch_size", &["false"], ""),
    fixed("group_by_length", &["false"], ""),
    fixed("train_sampling_strategy", &["\"random\""], "shuffle: false takes rows as they come"),
    fixed("dataloader_drop_last", &["false"], ""),
    fixed("ignore_data_skip", &["false"], "a resumed training goes on where it was"),
    fixed("resume_from_checkpoint", &["null"], "the checkpoint is handed over beside the configuration"),
    fixed("truncation_mode", &["\"keep_start\""], ""),
    fixed("packing", &["false"], ""),
    fixed("padding_free", &["false"], ""),
    fixed("model_init_kwargs", &["null", "{}"], "the model is there already"),
    fixed("do_eval", &["false"], "eval_strategy says when rows for evaluation are judged"),
    fixed("eval_delay", &["0", "null"], "evaluations begin with the run"),
    fixed("save_strategy", &["\"steps\"", "\"no\""], SAVING),
    fixed("save_steps", &["500"], SAVING),
    fixed("logging_strategy", &["\"steps\""], LOGGING),
    fixed("logging_steps", &["10", "1"], LOGGING),
];

/// Taken whatever they say: they change neither a number nor what is there in the end. Logs, uploads, PyTorch's hardware, padding, memory and
/// several machines; and what belongs to a choice that is refused itself (another loss, packing), which says nothing without it.
#[rustfmt::skip]
pub const IGNORED: &[&str] = &[
    // Logs and uploads.
    "output_dir", "overwrite_output_dir", "run_name", "project", "report_to", "trackio_space_id", "trackio_bucket_id",
    "trackio_static_space_id", "logging_dir", "logging_first_step", "log_on_each_node", "logging_nan_inf_filter",
    "include_num_input_tokens_seen", "include_tokens_per_second", "log_level", "log_level_replica", "disable_tqdm", "push_to_hub",
    "push_to_hub_model_id", "push_to_hub_organization", "push_to_hub_token", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy",
    "hub_always_push", "hub_revision",
    // The last checkpoint is kept, whole, and each is a file that can be resumed from.
    "save_only_model", "save_on_each_node", "save_total_limit", "save_safetensors", "enable_jit_checkpoint",
    "restore_callback_states_from_checkpoint",
    // How an evaluation's outputs are gathered.
    "prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps",
    "include_for_metrics", "include_inputs_for_metrics", "batch_eval_metrics", "label_names",
    // Hardware and memory. Arithmetic is f32, and the same twice.
    "full_determinism", "use_cpu", "no_cuda", "use_mps_device", "bf16", "bf16_full_eval", "fp16_full_eval", "fp16_backend", "fp16_opt_level",
    "half_precision_backend", "tf32", "activation_checkpointing", "activation_checkpointing_kwargs", "activation_offloading",
    "gradient_checkpointing_kwargs", "torch_compile", "torch_compile_backend", "torch_compile_mode", "torchdynamo", "jit_mode_eval",
    "use_ipex", "use_liger_kernel", "liger_kernel_config", "use_cache", "torch_empty_cache_steps", "xpu_backend", "tpu_num_cores",
    "tpu_metrics_debug", "trust_remote_code", "debug", "skip_memory_metrics", "past_index", "mp_parameters", "ray_scope",
    // Several machines.
    "average_tokens_across_devices", "accelerator_config", "parallelism_config", "split_batches", "dispatch_batches",
    "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend", "ddp_timeout",
    "local_rank", "fsdp", "fsdp_config", "fsdp_min_num_params", "fsdp_transformer_layer_cls_to_wrap", "deepspeed",
    // How rows come out of the dataset's own software, and padding, which no token sees.
    "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor",
    "dataloader_multiprocessing_context", "dataloader_in_order", "remove_unused_columns", "length_column_name", "dataset_num_proc",
    "dataset_batch_size", "pad_to_multiple_of", "pad_token", "padding_value", "label_pad_token_id", "do_train", "do_predict",
    // Computed once per row in any case.
    "local_rollout_forward_batch_size", "precompute_ref_log_probs", "precompute_ref_batch_size", "use_logits_to_keep",
    // Of what is refused itself.
    "packing_strategy", "ref_model_mixup_alpha", "ref_model_sync_steps", "sapo_temperature_neg", "sapo_temperature_pos", "vespo_k_neg",
    "vespo_k_pos", "vespo_lambda_neg", "vespo_lambda_pos", "entropy_coef_delta", "entropy_coef_max", "entropy_coef_min", "entropy_target",
    "transformers_continuous_batching_config", "vllm_enable_sleep_mode", "vllm_gpu_memory_utilization", "vllm_group_port",
    "vllm_importance_sampling_cap", "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min",
    "vllm_importance_sampling_correction", "vllm_importance_sampling_mode", "vllm_max_model_length", "vllm_mode", "vllm_model_impl",
    "vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout", "vllm_structured_outputs_regex",
    "vllm_tensor_parallel_size",
    // How completions are shown and where they are computed: rollouts are written where somebody asks for them.
    "log_completions", "log_completions_hub_repo", "log_multimodal", "log_unique_prompts", "num_completions_to_print",
    "ds3_gather_for_generation", "cache_implementation",
];

/// What fields are called here or now, where somebody set them, and what to do instead.
pub const RENAMED: &[(&str, &str)] = &[
    ("max_seq_length", "is called max_length"),
    ("evaluation_strategy", "is called eval_strategy"),
    ("per_gpu_eval_batch_size", "is called per_device_eval_batch_size"),
    ("val_set_size", "is called eval_split"),
    ("test_size", "is called eval_split"),
    ("max_prompt_length", "is no longer a field of TRL: prompt and answer together are cut to max_length"),
    ("max_completion_length", "is not heeded: prompt and answer together are cut to max_length"),
    ("max_target_length", "is not heeded: prompt and answer together are cut to max_length"),
    ("rpo_alpha", "is no longer a field of TRL: loss_type [\"sigmoid\", \"sft\"] with loss_weights [1, rpo_alpha] is the same"),
    ("tokenizer", "is no field of a configuration: the model's own tokenizer is used"),
    ("processing_class", "is no field of a configuration: the model's own tokenizer is used"),
    ("model", "is no field of a configuration: the model is handed over beside it"),
    ("model_name_or_path", "is no field of a configuration: the model is handed over beside it"),
    ("ref_model", "is no field of a configuration: reference says what the policy is measured against"),
    ("ref_adapter_name", "is no longer a field of TRL: reference says what the policy is measured against"),
    ("model_adapter_name", "is called adapter_name"),
    ("force_use_ref_model", "is no longer a field of TRL: reference says what the policy is measured against"),
    ("per_gpu_train_batch_size", "is called per_device_train_batch_size"),
    ("train_batch_size", "is called per_device_train_batch_size"),
    ("batch_size", "is called per_device_train_batch_size"),
    ("micro_batch_size", "is called per_device_train_batch_size"),
    ("epochs", "is called num_train_epochs"),
    ("num_epochs", "is called num_train_epochs"),
    ("lr", "is called learning_rate"),
    ("lr_scheduler", "is called lr_scheduler_type"),
    ("scheduler", "is called lr_scheduler_type"),
    ("warmup", "is called warmup_steps"),
    ("optimizer", "is called optim"),
    ("gradient_clipping", "is called max_grad_norm"),
    ("max_seq_len", "is called max_length"),
    ("seq_length", "is called max_length"),
    ("lora_r", "is called r"),
    ("lora_rank", "is called r"),
    ("rank", "is called r"),
    ("alpha", "is called lora_alpha"),
    ("lora_target_modules", "is called target_modules"),
    ("lora_config", "is called peft_config"),
    ("label_smoothing_epsilon", "is called label_smoothing"),
];

#[cfg(test)]
mod tests {
    use super::super::{METHODS, shared};
    use super::*;
    use crate::tune::check_config;
    use serde_json::{Map, Value as Json, json};

    fn written() -> Map<String, Json> {
        serde_json::from_str(include_str!("../../../tests/fixtures/fields.json")).expect("JSON")
    }

    /// Something else than a default.
    fn others(v: &Json) -> Vec<Json> {
        match v {
            Json::Bool(b) => vec![json!(!b)],
            Json::Number(n) => vec![json!(n.as_f64().expect("a number") + 1.0)],
            Json::String(_) => vec![json!("something else")],
            Json::Null => vec![json!(true), json!(7), json!("something"), json!({"a": 1})],
            Json::Array(_) => vec![json!(["something", "else"])],
            Json::Object(_) => vec![json!({"a": 1})],
        }
    }

    #[test]
    fn what_trl_writes_at_its_defaults_is_taken_and_what_asks_for_more_acts_or_is_refused() {
        let written = written();
        for m in METHODS {
            let fields = written[m.name].as_object().expect("fields");
            let all = m.all_fields();
            check_config(m.name, &written[m.name]).unwrap_or_else(|e| panic!("{}: {e}", m.name));
            for (name, v) in fields {
                let own = all.iter().any(|f| f.name == name);
                let fixed = !own && m.fixed.iter().chain(FIXED).any(|f| f.name == name);
                let ignored = !own && IGNORED.contains(&name.as_str());
                let renamed = !own && RENAMED.iter().any(|r| r.0 == name);
                assert_eq!(u8::from(own) + u8::from(fixed) + u8::from(ignored) + u8::from(renamed), 1, "{}: {name}", m.name);
                check_config(m.name, &json!({ name: v })).unwrap_or_else(|e| panic!("{}: {name} at its default: {e}", m.name));
                for other in others(v) {
                    let config = json!({ name: other.clone() });
                    match m.read(config.as_object().expect("an object")) {
                        Ok(values) if own => assert_ne!(values.map[name], *v, "{}: {name} {other} is not heeded", m.name),
                        Ok(_) => {
                            assert!(ignored || [json!(1), json!(false)].contains(&other), "{}: {name} {other} passes in silence", m.name)
                        }
                        Err(e) => assert!(!ignored && e.to_string().starts_with(name), "{}: {name} {other}: {e}", m.name),
                    }
                }
            }
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let usual = json!({
            "optim": "adafactor", "max_seq_length": 2048, "logging_steps": 7, "eval_strategy": "steps", "eval_steps": 50, "eval_delay": 5,
            "load_best_model_at_end": true, "metric_for_best_model": "loss", "save_strategy": "best", "report_to": "none", "bf16": true,
            "lerning_rate": 1e-3, "tokenizer": "x", "r": 2.5, "peft_config": {"lora_alfa": 3}, "warmup_ratio": null,
        });
        let said = check_config("sft", &usual).unwrap_err().to_string();
        for part in [
            "optim: expected",
            "max_seq_length: is called max_length",
            "logging_steps: 7",
            "eval_delay: 5",
            "save_strategy: \"best\"",
            "did you mean learning_rate?",
            "tokenizer: ",
            "r: expected a whole number",
            "did you mean lora_alpha?",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("warmup_ratio") && !said.contains("bf16"), "{said}");
        assert!(check_config("sft", &json!({"r": 2.0, "warmup_ratio": null, "max_length": null})).is_ok());
        assert!(check_config("sft", &json!({ "x".repeat(100_000): "y".repeat(100_000) })).unwrap_err().to_string().len() < 500);
        assert!(check_config("dpo", &json!({ "loss_type": "y".repeat(100_000) })).unwrap_err().to_string().len() < 500);
    }

    #[test]
    fn fields_of_peft_act_or_are_refused() {
        let written = written();
        let fields = written["lora"].as_object().expect("fields");
        // As a training configuration: what PEFT writes, and each field by itself.
        check_config("sft", &json!({ "peft_config": fields.clone() })).unwrap_or_else(|e| panic!("{e}"));
        let acts = shared::LORA.iter().map(|f| f.name).chain([
            "peft_type",
            "fan_in_fan_out",
            "inference_mode",
            "revision",
            "base_model_name_or_path",
        ]);
        let acts: Vec<&str> = acts.chain(["auto_mapping", "megatron_core", "qalora_group_size", "init_lora_weights"]).collect();
        for (name, v) in fields {
            check_config("dpo", &json!({"peft_config": { name: v }})).unwrap_or_else(|e| panic!("{name} at its default: {e}"));
            for other in others(v).into_iter().filter(|o| !(v.is_null() && *o == json!(false))) {
                let taken = check_config("dpo", &json!({"peft_config": { name: other.clone() }}));
                assert!(acts.contains(&name.as_str()) || taken.is_err(), "{name} {other} passes in silence");
            }
        }
        for (start, taken) in
            [("gaussian", true), ("orthogonal", true), ("pissa", false), ("pissa_niter_4", false), ("olora", false), ("eva", false)]
        {
            let config = json!({ "init_lora_weights": start, "learning_rate": -1 });
            let said = check_config("sft", &config).unwrap_err().to_string();
            assert!(said.contains("learning_rate") && said.contains("init_lora_weights") != taken, "{said}");
        }
    }
}
