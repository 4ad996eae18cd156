#!/usr/bin/env bash
# Does feedback change a model for the better? Builds the command line, fetches SmolLM2 and runs scripts/experiment/run.mjs, which writes
# docs/experiment.md, .json and .svg. Hours on two cores; what is done is kept in target/experiment, and a second call goes on from there.
#   scripts/experiment.sh [--rules asks-back,no-number] [--methods dpo,kto] [--threads N]
. "$(dirname "$0")/env.sh"

scripts/setup.sh check
model=$(MODEL='' scripts/fetch-model.sh | tail -n 1)
cargo build --quiet --release --bin fledgling
exec node scripts/experiment/run.mjs --bin "${CARGO_TARGET_DIR:-target}/release/fledgling" --model "$model" "$@"
