//! Weights that other software has packed in its own way. They are told as what they are, from what `config.json` says and from the tensors: else
//! a person reads of tensors that are missing, in a folder that has them all.

use serde_json::Value;

/// What to do in place of it.
const ADVICE: &str = "use a GGUF of the model, or the folder with the float weights (F32, F16, BF16)";

/// Says how a checkpoint's weights are packed; nothing for float weights. `config` is its `config.json`, `tensors` are names and types.
pub fn packed<'a>(config: Option<&Value>, tensors: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let how = named(config).or_else(|| seen(tensors))?;
    Some(format!("{how}, which are not supported: {ADVICE}"))
}

/// What the configuration says.
fn named(config: Option<&Value>) -> Option<String> {
    let config = config?;
    if let Some(q) = config.get("quantization_config").filter(|q| q.is_object()) {
        let text = |key: &str| q.get(key).and_then(Value::as_str);
        let bits = |key: &str| q.get(key).and_then(Value::as_u64).map_or(String::new(), |n| format!(" of {n} bits"));
        let on = |key: &str| q.get(key).and_then(Value::as_bool) == Some(true);
        return Some(match text("quant_method").unwrap_or("") {
            "bitsandbytes" if on("load_in_8bit") || on("_load_in_8bit") => "its weights are bitsandbytes' 8-bit integers".into(),
            "bitsandbytes" => format!("its weights are bitsandbytes' 4-bit blocks ({})", text("bnb_4bit_quant_type").unwrap_or("fp4")),
            "gptq" => format!("its weights are packed by GPTQ{}", bits("bits")),
            "awq" => format!("its weights are packed by AWQ{}", bits("bits")),
            "compressed-tensors" => format!("its weights are compressed-tensors ({})", text("format").unwrap_or("packed")),
            "fp8" | "fbgemm_fp8" | "finegrained_fp8" => "its weights are FP8 with scales".into(),
            "mxfp4" => "its weights are MXFP4 blocks as safetensors".into(),
            "" if on("load_in_4bit") || on("load_in_8bit") => "its weights are bitsandbytes' blocks".into(),
            "" => format!("its weights are quantized (quantization_config: {})", shown(q)),
            other => format!("its weights are quantized by {other:?} (quantization_config of config.json)"),
        });
    }
    // MLX writes its own key.
    let q = config.get("quantization").filter(|q| q.get("bits").is_some() || q.get("group_size").is_some())?;
    let bits = q.get("bits").and_then(Value::as_u64).map_or(String::new(), |n| format!(" of {n} bits"));
    Some(format!("its weights are packed by MLX{bits}"))
}

fn shown(v: &Value) -> String {
    let text = v.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// What the tensors say.
fn seen<'a>(tensors: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let (mut codes, mut scales, mut mlx, mut f64s) = (None, false, false, 0usize);
    let (mut gptq, mut g_idx, mut all) = (false, false, 0usize);
    for (name, dtype) in tensors {
        all += 1;
        let end = name.rsplit('.').next().unwrap_or(name);
        if name.contains(".absmax") || name.contains(".quant_map") || name.contains(".quant_state.bitsandbytes") {
            return Some("its weights are bitsandbytes' 4-bit blocks (tensors .absmax and .quant_map)".into());
        }
        match end {
            "SCB" => return Some("its weights are bitsandbytes' 8-bit integers (tensors .SCB)".into()),
            "weight_packed" => return Some("its weights are compressed-tensors (tensors .weight_packed)".into()),
            "weight_scale_inv" => return Some("its weights are FP8 with scales (tensors .weight_scale_inv)".into()),
            "qweight" | "qzeros" => gptq = true,
            "g_idx" => g_idx = true,
            "weight_scale" | "input_scale" => scales = true,
            "scales" => mlx = true,
            _ => {}
        }
        if end == "weight" {
            match dtype {
                "F64" => f64s += 1,
                "F32" | "F16" | "BF16" => {}
                other => codes = codes.or(Some(other.to_string())),
            }
        }
    }
    match codes.as_deref() {
        _ if gptq && g_idx => Some("its weights are packed by GPTQ (tensors .qweight, .qzeros and .g_idx)".into()),
        _ if gptq => Some("its weights are packed by AWQ or GPTQ (tensors .qweight and .qzeros)".into()),
        Some("U32") if mlx => Some("its weights are packed by MLX (tensors .scales beside weights of type U32)".into()),
        Some(t) if t.starts_with("F8") => Some(format!("its weights are FP8 ({t})")),
        Some(t) if scales => Some(format!("its weights are quantized to {t} (tensors .weight_scale)")),
        Some(t @ ("I8" | "U8" | "I32" | "U32")) => Some(format!("its weights are packed in integers ({t})")),
        _ if f64s > 0 && 2 * f64s >= all => Some("its weights are F64".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::packed;
    use serde_json::json;

    #[test]
    fn the_configuration_says_it() {
        for (quantization, part) in [
            (
                json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}),
                "bitsandbytes' 4-bit blocks (nf4)",
            ),
            (json!({"quant_method": "bitsandbytes", "load_in_8bit": true}), "bitsandbytes' 8-bit"),
            (json!({"quant_method": "gptq", "bits": 4}), "GPTQ of 4 bits"),
            (json!({"quant_method": "awq", "bits": 4}), "AWQ of 4 bits"),
            (json!({"quant_method": "compressed-tensors", "format": "pack-quantized"}), "compressed-tensors (pack-quantized)"),
            (json!({"quant_method": "fp8"}), "FP8"),
            (json!({"quant_method": "hqq"}), "\"hqq\""),
        ] {
            let said = packed(Some(&json!({"quantization_config": quantization})), [].into_iter()).unwrap();
            assert!(said.contains(part) && said.contains("GGUF"), "{said}");
        }
        assert!(packed(Some(&json!({"quantization": {"group_size": 64, "bits": 4}})), [].into_iter()).unwrap().contains("MLX of 4 bits"));
        assert_eq!(packed(Some(&json!({"quantization_config": null, "model_type": "llama"})), [("a.weight", "F32")].into_iter()), None);
    }

    #[test]
    fn the_tensors_say_it() {
        let w = "model.layers.0.self_attn.q_proj";
        let of = |parts: &[(&str, &'static str)]| {
            let names: Vec<(String, &str)> = parts.iter().map(|(end, t)| (format!("{w}.{end}"), *t)).collect();
            packed(None, names.iter().map(|(n, t)| (n.as_str(), *t)))
        };
        for (parts, part) in [
            (&[("weight", "U8"), ("weight.absmax", "F32"), ("weight.quant_map", "F32")][..], "bitsandbytes' 4-bit"),
            (&[("weight", "I8"), ("SCB", "F32")], "bitsandbytes' 8-bit"),
            (&[("qweight", "I32"), ("qzeros", "I32"), ("scales", "F16"), ("g_idx", "I32")], "GPTQ"),
            (&[("qweight", "I32"), ("qzeros", "I32"), ("scales", "F16")], "AWQ"),
            (&[("weight_packed", "I32"), ("weight_scale", "BF16"), ("weight_shape", "I64")], "compressed-tensors"),
            (&[("weight", "F8_E4M3"), ("weight_scale_inv", "F32")], "FP8"),
            (&[("weight", "F8_E4M3"), ("weight_scale", "F32")], "FP8"),
            (&[("weight", "I8"), ("weight_scale", "BF16")], "quantized to I8"),
            (&[("weight", "U32"), ("scales", "BF16"), ("biases", "BF16")], "MLX"),
            (&[("weight", "F64")], "F64"),
        ] {
            assert!(of(parts).unwrap().contains(part), "{parts:?}: {:?}", of(parts));
        }
        assert_eq!(of(&[("weight", "BF16"), ("bias", "BF16")]), None);
    }
}
