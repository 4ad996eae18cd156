//! PEFT's kinds of adapters and their fields, which stand under `peft_config` or beside a method's.

use super::field::{Default, Field, Group, Kind, Shown};
use super::shared::LORA;

use Default::{Number, Switch, Text, Unset, Whole};
use Group::Virtual;

/// A kind of adapter.
pub struct AdapterKind {
    /// PEFT's `peft_type`; the command line's `--peft` takes it in small letters.
    pub peft_type: &'static str,
    pub title: &'static str,
    pub what: &'static str,
    /// Lists of fields, in the order of forms.
    pub fields: &'static [&'static [Field]],
}

/// Which kind an adapter is.
pub const PEFT_TYPE: Field = Field::new(
    "peft_type",
    Group::Lora,
    Kind::Choice(&["LORA", "PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"]),
    Text("LORA"),
    "The kind of adapter: low-rank products, or virtual tokens in front of every text, as embeddings (PROMPT_TUNING, and P_TUNING by a small network) or \
     as keys and values of every layer (PREFIX_TUNING).",
)
.shown(Shown::Never);

const fn new(name: &'static str, kind: Kind, default: Default, help: &'static str) -> Field {
    Field::new(name, Virtual, kind, default, help).shown(Shown::Never)
}

const TOKENS: &[Field] = &[new(
    "num_virtual_tokens",
    Kind::Whole { low: 1, high: 4096 },
    Whole(20),
    "How many virtual tokens every text has in front; they count as its context does. PEFT: must be said.",
)];

const INIT: &[Field] = &[
    new(
        "prompt_tuning_init",
        Kind::Choice(&["RANDOM", "TEXT", "SAMPLE_VOCAB"]),
        Text("RANDOM"),
        "How virtual tokens of PROMPT_TUNING begin: at random, as the tokens of prompt_tuning_init_text, or as tokens drawn from the vocabulary.",
    ),
    new(
        "prompt_tuning_init_text",
        Kind::Text,
        Unset,
        "The text whose tokens they begin as, repeated or cut to their number; the model's own tokenizer reads it.",
    ),
    new("tokenizer_name_or_path", Kind::Text, Unset, "Whose tokenizer PEFT takes for that text; it is kept, and the model's is taken."),
];

const HIDDEN: &[Field] = &[new(
    "encoder_hidden_size",
    Kind::Whole { low: 1, high: 1 << 16 },
    Unset,
    "Width of the network of P_TUNING and of PREFIX_TUNING's projection; not set: that of what it makes.",
)];

const ENCODER: &[Field] = &[
    new(
        "encoder_reparameterization_type",
        Kind::Choice(&["MLP", "LSTM"]),
        Text("MLP"),
        "The network that makes the virtual tokens of P_TUNING: three linear layers, or an LSTM in both directions and two of them.",
    ),
    new("encoder_num_layers", Kind::Whole { low: 1, high: 16 }, Whole(2), "Layers of the LSTM; an MLP has no use for it."),
    new(
        "encoder_dropout",
        Kind::Number { low: 0.0, high: 0.999_999, step: 0.05 },
        Number(0.0),
        "Share dropped between layers of the LSTM.",
    ),
];

const PREFIX: &[Field] = &[
    new(
        "prefix_projection",
        Kind::Switch,
        Switch(false),
        "Two linear layers make the keys and values of PREFIX_TUNING, while it is trained.",
    ),
    new("init_weights", Kind::Choice(&["zero"]), Unset, "zero: keys and values of PREFIX_TUNING begin as zeros; not set: at random."),
];

/// All of them.
pub const KINDS: &[AdapterKind] = &[
    AdapterKind { peft_type: "LORA", title: "LoRA", what: "Low-rank products beside the linear layers (Hu et al. 2021).", fields: &[LORA] },
    AdapterKind {
        peft_type: "PROMPT_TUNING",
        title: "Prompt tuning",
        what: "Embeddings of virtual tokens in front of every text (Lester et al. 2021). The first token of a text is not judged, though virtual\n\
               ones stand before it; TRL's SFT counts it in the sum of losses, and not in what that is divided by.",
        fields: &[TOKENS, INIT],
    },
    AdapterKind {
        peft_type: "P_TUNING",
        title: "P-tuning",
        what: "The same, made by a small network that is trained and not saved (Liu et al. 2021).",
        fields: &[TOKENS, HIDDEN, ENCODER],
    },
    AdapterKind {
        peft_type: "PREFIX_TUNING",
        title: "Prefix tuning",
        what: "Keys and values in front of every text, in every layer (Li & Liang 2021).",
        fields: &[TOKENS, HIDDEN, PREFIX],
    },
];

impl AdapterKind {
    /// Its fields.
    pub fn all_fields(&self) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().copied().flatten()
    }
}

/// The kind of a `peft_type`.
pub fn kind_of(peft_type: &str) -> Option<&'static AdapterKind> {
    KINDS.iter().find(|k| k.peft_type == peft_type)
}

/// Every field of any kind, each once, `peft_type` first.
pub fn every_peft_field() -> Vec<Field> {
    let mut all = vec![PEFT_TYPE];
    for f in KINDS.iter().flat_map(AdapterKind::all_fields) {
        if !all.iter().any(|a| a.name == f.name) {
            all.push(*f);
        }
    }
    all
}
