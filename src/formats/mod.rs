//! File formats: safetensors, GGUF, PEFT adapters. A leaf.
