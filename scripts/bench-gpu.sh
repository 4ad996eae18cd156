#!/usr/bin/env bash
# The figures that need a real GPU (native Vulkan, Metal or DX12), unattended and in under ten minutes: measured peaks, matmul 4096³,
# the SmolLM2 table, decoding a 3B model in Q4_0 (behind 128 and 4,096 tokens), a LoRA step of 4 × 512, and the same step with
# PyTorch and PEFT where Python has them.
# A table for each part; the last line is one JSON object. A part that fails says so there and does not stop the others.
#   scripts/bench-gpu.sh
# FLEDGLING_BIN=FILE     a command line that was built elsewhere: then no Rust is needed here
# MODEL=FILE             SmolLM2-135M-Instruct as a GGUF; without the file, random weights of its shape
# PYTHON=python3         the Python that may have torch, transformers and peft
# FLEDGLING_GPU=NAME     part of the adapter's name, where there are several
# BENCH_OUT=DIR          where objects, logs and the pages of --html go (target/bench-gpu)
# FLEDGLING_SMOKE=1      tiny sizes, to try this script on a software adapter: its figures mean nothing
. "$(dirname "$0")/env.sh"

export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}
smoke=${FLEDGLING_SMOKE:-}
python=${PYTHON:-python3}
dir=${BENCH_OUT:-target/bench-gpu}
mkdir -p "$dir"
rm -f "$dir"/*.json "$dir"/*.log "$dir"/*.html

bin=${FLEDGLING_BIN:-}
if [ -z "$bin" ]; then
  have cargo || die "no cargo here: give FLEDGLING_BIN=<a fledgling binary>"
  head1 "Build"
  cargo build --quiet --release
  bin=target/release/fledgling
fi
[ -x "$bin" ] || die "$bin is not a program"

model=${MODEL:-.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf}
if [ -n "$smoke" ]; then
  small=(--random tiny); large=(--random tiny); matmul=128; batch=2; length=32; layers=1; steps=2; far=200
else
  if [ -e "$model" ]; then small=(--model "$model"); else small=(--random smollm2); fi
  large=(--random llama-3b); matmul=4096; batch=4; length=512; layers=30; steps=10; far=4096
fi

# part NAME SECONDS arguments…: one run of `fledgling bench`; its object ends up in $dir/NAME.json
part() {
  local name=$1 seconds=$2 log=$dir/$1.log status=0
  shift 2
  head1 "$name"
  within "$seconds" "$bin" --device gpu ${FLEDGLING_GPU:+--gpu "$FLEDGLING_GPU"} bench "$@" --out "$dir/$name.json" >"$log" 2>&1 || status=$?
  # The table without the object: that is in the file.
  grep -v '^{' "$log" || true
  if [ "$status" != 0 ]; then
    warn "$name failed ($status)"
    printf '{"failed":%s}\n' "$status" >"$dir/$name.json"
  fi
}

# value FILE KEY: a number of an object, nothing where it is not there
value() { sed -n "s/.*\"$2\":\([-0-9.e+]*\).*/\1/p" "$dir/$1.json" 2>/dev/null | head -n 1; }

# divide A B: A/B as JSON
divide() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (a > 0 && b > 0) printf "%.4f", a / b; else printf "null" }'; }

head1 "Machine"
say "$(uname -sm), $(cores) cores,$(uptime | sed 's/.*load average/ load average/')"
begin=$(date +%s)

part matmul 90 --only peaks,matmul --matmul "$matmul"
part smollm2 150 "${small[@]}" --only peaks,prefill,decode,lora,gpt --html "$dir/smollm2.html"
part lora 120 "${small[@]}" --only lora --lora-batch "$batch" --lora-length "$length" --html "$dir/lora.html"
part llama3b 120 "${large[@]}" --only peaks,prefill,decode --html "$dir/llama3b.html"

head1 "torch"
device=()
[ -n "$smoke" ] && device=(--device cpu)
status=0
within 100 "$python" tests/oracle/speed_torch.py --only lora --batch "$batch" --length "$length" --layers "$layers" \
    --steps "$steps" ${device[@]+"${device[@]}"} \
  >"$dir/torch.log" 2>"$dir/torch.err" || status=$?
if grep '^{' "$dir/torch.log" 2>/dev/null | tail -n 1 | grep . >"$dir/torch.json"; then cat "$dir/torch.json"
else
  warn "PyTorch's step did not run ($status): $(tail -n 1 "$dir/torch.err" 2>/dev/null)"
  printf '{"failed":%s}\n' "$status" >"$dir/torch.json"
fi

# extra NAME arguments…: a part of at most 90 seconds, if so many are left of the ten minutes.
extra() {
  local name=$1
  shift
  if [ $(( $(date +%s) - begin )) -lt 510 ]; then part "$name" 90 "$@"; else printf '{"skipped":"too late"}\n' >"$dir/$name.json"; fi
}
# What one kernel for a token's rotation, append and attention is worth, behind short prompts and behind long ones.
extra llama3b_apart "${large[@]}" --only decode --kernels attention_small=query
extra llama3b_far "${large[@]}" --only decode --prompt-length "$far"
extra llama3b_far_apart "${large[@]}" --only decode --prompt-length "$far" --kernels attention_small=query

head1 "In short"
# What the torch object writes has spaces behind colons.
theirs=$(sed -n 's/.*"lora_step_ms": *\([0-9.e+-]*\).*/\1/p' "$dir/torch.json" | head -n 1)
ours=$(value lora lora_step_ms)
ratio=$(divide "$ours" "$theirs")
line() { printf '%-46s%14s %s\n' "$1" "$(awk -v v="${2:-}" 'BEGIN { if (v == "" || v == "null") print "-"; else printf "%.4g", v }')" "${3:-}"; }
line "matmul $matmul³" "$(value matmul matmul_gflops)" "GFLOP/s"
line "  of the measured multiply-adds" "$(value matmul matmul_fma_fraction)"
line "  of the data sheet" "$(value matmul matmul_peak_fraction)"
line "3B Q4_0, decode" "$(value llama3b decode_tokens_per_second)" "tok/s"
line "  of the measured copy" "$(value llama3b decode_bandwidth_fraction)"
line "  with rotation and attention apart" "$(value llama3b_apart decode_tokens_per_second)" "tok/s"
line "  behind $far tokens" "$(value llama3b_far decode_tokens_per_second)" "tok/s"
line "  behind $far tokens, apart" "$(value llama3b_far_apart decode_tokens_per_second)" "tok/s"
line "LoRA step, $batch × $length" "$ours" "ms"
line "  the same with PyTorch + PEFT, f32" "$theirs" "ms"
line "  ours / theirs" "$ratio"
say "$(( $(date +%s) - begin )) s in all"
[ -n "$smoke" ] && warn "tiny sizes: these figures mean nothing"
[ -n "$ours" ] && [ -n "$(value matmul matmul_gflops)" ] || failed=1

printf '{"smoke":%s,"seconds":%s,"lora_ours_over_torch":%s' "$([ -n "$smoke" ] && echo true || echo false)" "$(( $(date +%s) - begin ))" "$ratio"
for name in matmul smollm2 lora llama3b llama3b_apart llama3b_far llama3b_far_apart torch; do printf ',"%s":%s' "$name" "$(tail -n 1 "$dir/$name.json")"; done
printf '}\n'
[ -z "${failed:-}" ]
