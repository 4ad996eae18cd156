//! How PEFT starts A and B (`init_lora_weights`), and which of its starts an adapter's file depends on.

use serde_json::Value as Json;

/// The first values of A and B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A uniform in ±1/√in (Kaiming with a = √5), B zero.
    Kaiming,
    /// The same A, B uniform in ±1/√r: the adapter changes the model from the beginning.
    Random,
    /// A normal with a deviation of 1/r, B zero.
    Gaussian,
    /// A and B in directions orthogonal to each other, so that their product is zero.
    Orthogonal,
}

/// What is wrong with a start.
pub(super) enum Wrong {
    /// The adapter is a difference to other weights than the base model's: neither made nor loaded.
    OtherBase(String),
    /// An adapter that was started so can be loaded, and none can be started.
    NotMade(String),
}

/// Starts that PEFT makes by changing the base model, and what it then is.
const OTHER_BASES: &[(&str, &str)] = &[
    ("pissa", "the base without its principal part"),
    ("olora", "the base without its part in the first directions of its QR decomposition"),
    ("corda", "the base without its part in the directions of the data's covariance"),
    ("loftq", "the base quantized by LoftQ"),
    ("lora_ga", "the base without the part that the first gradient gave to the adapter"),
];

/// Of the value of `init_lora_weights`.
pub(super) fn start(value: &Json) -> Result<Start, Wrong> {
    let text = match value {
        Json::Null | Json::Bool(true) => return Ok(Start::Kaiming),
        Json::Bool(false) => return Ok(Start::Random),
        Json::String(s) => s.to_ascii_lowercase(),
        _ => String::new(),
    };
    if let Some((name, base)) = OTHER_BASES.iter().find(|o| text == o.0 || (o.0 == "pissa" && text.starts_with("pissa_niter_"))) {
        let why = format!(
            "is {text:?}: such an adapter belongs to {base}, and is wrong on the model itself. PEFT makes an ordinary adapter of it with \
             save_pretrained(…, path_initial_model_for_weight_conversion=…)"
        );
        return Err(Wrong::OtherBase(if *name == "loftq" { why.split(". PEFT").next().unwrap_or_default().into() } else { why }));
    }
    match text.as_str() {
        "gaussian" => Ok(Start::Gaussian),
        "orthogonal" => Ok(Start::Orthogonal),
        "eva" => Err(Wrong::NotMade("is \"eva\", which begins with a pass over the data and is not supported for a new adapter".into())),
        "mica" => Err(Wrong::NotMade("is \"mica\", which keeps B as it is and is not supported for a new adapter".into())),
        _ => {
            let shown: String = value.to_string().chars().take(100).collect();
            Err(Wrong::OtherBase(format!("is {shown}, expected true, false, \"gaussian\" or \"orthogonal\"")))
        }
    }
}
