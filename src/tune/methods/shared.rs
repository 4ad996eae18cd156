//! The fields that all methods share: TRL's `TrainingArguments` and PEFT's `LoraConfig`, with the only copy of their defaults.
//!
//! Names are TRL's; its defaults are for training all weights of large models over large datasets. Where a default differs, it is because a small
//! adapter of a small model learns from few rows here; docs/methods.md says which and why.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown};

const fn number(low: f64, high: f64, step: f64) -> Kind {
    Kind::Number { low, high, step }
}

const fn whole(low: i64, high: i64) -> Kind {
    Kind::Whole { low, high }
}

const SEED: i64 = u32::MAX as i64;

use Default::{Nothing, Number, Switch, Unset, Whole};
use Group::{Lora, Memory, Optimizer, Training};

/// In the order of forms and lists.
pub const FIELDS: &[Field] = &[
    Field::new("num_train_epochs", Training, number(0.0, 1e9, 1.0), Number(3.0), "How often the whole dataset is seen.")
        .shown(Shown::Always),
    Field::new("max_steps", Training, whole(-1, 1 << 40), Whole(-1), "Updates in all; −1 leaves it to the epochs."),
    Field::new(
        "per_device_train_batch_size",
        Training,
        whole(1, 4096),
        Whole(1),
        "Rows in one pass; more need more memory. TRL: 8, for datasets of thousands of rows.",
    ),
    Field::new("gradient_accumulation_steps", Training, whole(1, 1 << 20), Whole(1), "Passes that make one update."),
    Field::new(
        "max_length",
        Training,
        whole(2, 1 << 24),
        Whole(1024),
        "Longer rows are cut to so many tokens; null: never, those longer than the context are left out.",
    )
    .or_null(),
    Field::new(
        "disable_dropout",
        Training,
        Kind::Switch,
        Unset,
        "true: nothing is dropped, as if lora_dropout were 0, which is what TRL does by default. Not set: lora_dropout decides.",
    )
    .shown(Shown::Never),
    Field::new("seed", Training, whole(0, SEED), Whole(42), "Fixes the order of rows and the first weights."),
    Field::new("data_seed", Training, whole(0, SEED), Unset, "Fixes the order of rows alone; without it, seed does.").shown(Shown::Never),
    Field::new("shuffle", Training, Kind::Switch, Switch(true), "Rows in a new random order every epoch, or as they come. Not in TRL."),
    Field::new(
        "learning_rate",
        Optimizer,
        number(0.0, 1e3, 1e-5),
        Number(2e-4),
        "Size of an update. 5e-5 to 5e-4 suits LoRA. TRL: 2e-5, for all weights.",
    )
    .shown(Shown::Always),
    Field::new(
        "lr_scheduler_type",
        Optimizer,
        Kind::Choice(&["linear", "cosine", "constant", "constant_with_warmup"]),
        Default::Text("linear"),
        "How the rate falls over the run.",
    ),
    Field::new(
        "warmup_steps",
        Optimizer,
        number(0.0, 1e12, 1.0),
        Number(0.0),
        "Updates over which the rate rises from 0; below 1, a share of all.",
    ),
    Field::new("warmup_ratio", Optimizer, number(0.0, 1.0, 0.01), Number(0.0), "The same as a share of all, where warmup_steps is 0.")
        .or_null()
        .shown(Shown::Never),
    Field::new(
        "optim",
        Optimizer,
        Kind::Choice(&[
            "adamw_torch_fused",
            "adamw_torch",
            "adamw_hf",
            "adamw",
            "adamw_torch_xla",
            "adamw_torch_npu_fused",
            "adamw_apex_fused",
            "paged_adamw",
            "paged_adamw_32bit",
            "adamw_8bit",
            "adamw_bnb_8bit",
            "paged_adamw_8bit",
        ]),
        Default::Text("adamw_torch_fused"),
        "AdamW under all of these names; those that end in 8bit keep its moments in 8 bits, a quarter of the memory. Of bitsandbytes: there, tensors of \
         fewer than 4096 values stay in 32 bits, here none does.",
    )
    .shown(Shown::Never),
    Field::new("weight_decay", Optimizer, number(0.0, 1e3, 0.01), Number(0.0), "Pulls weights towards 0 (AdamW)."),
    Field::new("max_grad_norm", Optimizer, number(0.0, 1e9, 0.1), Number(1.0), "Longer gradients are shortened to this; 0: never."),
    Field::new("adam_beta1", Optimizer, number(0.0, 0.999_999_9, 0.01), Number(0.9), "AdamW: share of the past in the mean of gradients.")
        .shown(Shown::Never),
    Field::new(
        "adam_beta2",
        Optimizer,
        number(0.0, 0.999_999_9, 0.001),
        Number(0.999),
        "AdamW: share of the past in the mean of their squares.",
    )
    .shown(Shown::Never),
    Field::new("adam_epsilon", Optimizer, number(0.0, 1.0, 1e-8), Number(1e-8), "AdamW: added to the root of that mean.")
        .shown(Shown::Never),
    Field::new(
        "gradient_checkpointing",
        Memory,
        Kind::Switch,
        Unset,
        "Activations are computed again instead of kept; not set: where they would exceed activation_memory.",
    )
    .shown(Shown::Never),
    Field::new(
        "fp16",
        Memory,
        Kind::Switch,
        Switch(false),
        "Activations wait for the backward pass in half precision; all arithmetic stays f32.",
    )
    .shown(Shown::Never),
    Field::new(
        "activation_memory",
        Memory,
        whole(1, 1 << 50),
        Unset,
        "Bytes that activations may take; not set: a share of what the device has. Not in TRL.",
    )
    .shown(Shown::Never),
    Field::new(
        "full",
        Training,
        Kind::Switch,
        Switch(false),
        "All weights learn, not an adapter: of a folder as Transformers writes it, which is then written anew. In TRL a run without peft_config.",
    )
    .shown(Shown::Never),
    Field::new(
        "eval_split",
        Training,
        number(1e-6, 0.999, 0.05),
        Unset,
        "Share of the rows that is held out and judged, never learned from; drawn by data_seed. Not in TRL, where datasets' train_test_split does it.",
    )
    .shown(Shown::Never),
    Field::new(
        "eval_strategy",
        Training,
        Kind::Choice(&["no", "steps", "epoch"]),
        Unset,
        "When rows for evaluation are judged, always behind the last update, too. Not set: steps where eval_steps is, else epoch.",
    )
    .shown(Shown::Never),
    Field::new("eval_steps", Training, number(1e-9, 1e12, 1.0), Unset, "Updates between two evaluations; below 1, a share of all. Not set: 10.")
        .shown(Shown::Never),
    Field::new("eval_on_start", Training, Kind::Switch, Switch(false), "One evaluation before the first update, too.").shown(Shown::Never),
    Field::new("per_device_eval_batch_size", Training, whole(1, 4096), Whole(8), "Rows in one pass of an evaluation.").shown(Shown::Never),
    Field::new(
        "load_best_model_at_end",
        Training,
        Kind::Switch,
        Switch(false),
        "The adapter of the best evaluation is the one that is kept, not the last one.",
    )
    .shown(Shown::Never),
    Field::new(
        "metric_for_best_model",
        Training,
        Kind::Text,
        Unset,
        "By which evaluations are compared, such as eval_rewards/accuracies. Not set: eval_loss.",
    )
    .shown(Shown::Never),
    Field::new("greater_is_better", Training, Kind::Switch, Unset, "Which way it is better. Not set: greater, unless its name ends in loss.")
        .shown(Shown::Never),
    Field::new(
        "early_stopping_patience",
        Training,
        whole(1, 1 << 20),
        Unset,
        "The run ends when so many evaluations in a row were not better than the best before. In Transformers of EarlyStoppingCallback.",
    )
    .shown(Shown::Never),
    Field::new(
        "early_stopping_threshold",
        Training,
        number(0.0, 1e12, 0.01),
        Number(0.0),
        "By how much an evaluation must be better to count for that.",
    )
    .shown(Shown::Never),
    Field::new(
        "report_kl",
        Training,
        Kind::Switch,
        Switch(true),
        "Report kl, the distance to the base model at the judged positions. Not in TRL.",
    )
    .shown(Shown::Never),
];

/// PEFT's, which stand under `peft_config` or beside the others.
pub const LORA: &[Field] = &[
    Field::new("r", Lora, whole(1, 4096), Whole(8), "Rank: how much the adapter can hold."),
    Field::new(
        "lora_alpha",
        Lora,
        number(0.0, 1e38, 1.0),
        Number(16.0),
        "The adapter's product is multiplied by lora_alpha / r. PEFT: 8; twice the rank is usual.",
    ),
    Field::new("lora_dropout", Lora, number(0.0, 0.999_999, 0.05), Number(0.0), "Share of inputs left out while learning."),
    Field::new("use_rslora", Lora, Kind::Switch, Switch(false), "The factor is lora_alpha / √r instead."),
    Field::new(
        "use_dora",
        Lora,
        Kind::Switch,
        Switch(false),
        "DoRA: the norm of every row of a weight is learned, too. Not with lora_dropout above 0; slower than without.",
    )
    .shown(Shown::Never),
    Field::new(
        "target_modules",
        Lora,
        Kind::Names,
        Default::Text("all-linear"),
        "all-linear, names such as q_proj, or a regular expression for whole paths.",
    ),
    Field::new(
        "init_lora_weights",
        Lora,
        Kind::SwitchOr(&["gaussian", "orthogonal"]),
        Switch(true),
        "How A and B begin: true, B is zero; false, both are random; gaussian and orthogonal as in PEFT.",
    )
    .shown(Shown::Never),
    Field::new("exclude_modules", Lora, Kind::Names, Unset, "Names, or a regular expression, of modules to leave out.").shown(Shown::Never),
    Field::new("layers_to_transform", Lora, Kind::Wholes, Unset, "Numbers of the layers to adapt; not set: all.").shown(Shown::Never),
    Field::new("layers_pattern", Lora, Kind::Names, Unset, "Name of the list of layers, where layers_to_transform cannot guess it.")
        .shown(Shown::Never),
    Field::new("rank_pattern", Lora, Kind::Patterns, Nothing, "Other ranks for modules by name or regular expression.").shown(Shown::Never),
    Field::new("alpha_pattern", Lora, Kind::Patterns, Nothing, "The same for lora_alpha.").shown(Shown::Never),
];

/// Of methods that are measured against a reference policy.
pub const REFERENCE: Field = Field::new(
    "reference",
    Group::Method,
    Kind::Choice(&["base", "init"]),
    Unset,
    "What the policy is measured against: the base model, or the adapter that training starts from. Not set: that adapter where it changes the model, \
     else the base. Not in TRL, where handing over a PeftModel means init.",
)
.shown(Shown::Never);

/// What divides a preference by, or weighs it with: each method says which.
pub const fn beta(help: &'static str) -> Field {
    Field::new("beta", Group::Method, Kind::Number { low: 0.0, high: 1e6, step: 0.05 }, Number(0.1), help)
}

/// The distance to the base model, where a method has no `kl` of its own.
pub const KL: Metric = Metric::new(
    "kl",
    "nats",
    Good::Neither,
    Drawn::With("KL to the base"),
    "Distance to the base model, before the update: the Kullback–Leibler divergence KL(policy ‖ base) over the vocabulary, mean over the update's \
     judged positions.",
)
.within(0.0, f64::INFINITY);

/// How undecided the policy is, of methods that judge tokens.
pub const ENTROPY: Metric = Metric::new(
    "entropy",
    "nats",
    Good::Neither,
    Drawn::Alone,
    "How undecided the model is at the judged tokens: the mean entropy of its distribution over the vocabulary. It falls slowly; at 0 there is only one \
     answer left.",
)
.within(0.0, f64::INFINITY);

/// What all methods report beside their own.
pub const METRICS: &[Metric] = &[
    Metric::new("learning_rate", "", Good::Neither, Drawn::Alone, "The rate that this update used."),
    Metric::new("grad_norm", "", Good::Neither, Drawn::Alone, "Length of the gradient before clipping."),
    Metric::new("tokens_per_second", "tokens/s", Good::Up, Drawn::With("tokens/s"), "Of this update."),
    Metric::new("step", "", Good::Neither, Drawn::Never, "Updates so far."),
    Metric::new("total_steps", "", Good::Neither, Drawn::Never, "Updates in all."),
    Metric::new("epoch", "", Good::Neither, Drawn::Never, "Passes over the data so far."),
    Metric::new("tokens", "tokens", Good::Neither, Drawn::Never, "Read so far, without padding."),
    Metric::new("seconds_left", "s", Good::Down, Drawn::Never, "Until the end, at this pace."),
];
