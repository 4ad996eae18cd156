#!/usr/bin/env bash
# The real model against its oracle with the kernel variants below, forced one by one, and on the processor with lesser instruction sets:
# log-likelihoods, logits, greedy tokens and chat answer; where the backward pass has the variant too, ten LoRA steps and their first gradients.
# With lesser instruction sets every case of every op against its f64 reference, too.
# Half an hour and more on a software adapter, for which most of these forms are not meant; `make test` has the chosen ones. `simd=avx2` says
# nothing on a machine that has no AVX2.
#   scripts/parity.sh [class=variant …]
. "$(dirname "$0")/env.sh"
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}

# What it forces, and the test that meets it.
answers=smollm2_is_the_oracles learns=ten_lora_steps
forms="
linear.m1=reg8x8 $answers
linear.m1=block8 $answers
linear.m1=block16 $answers
linear.m1=vec $answers
linear.m1=vecsub $answers
linear.m8=reg8x8 $answers
linear.m8=block8 $answers
linear.m8=block16 $answers
linear.m8=vec $answers
linear.m8=vecsub $answers
linear_norm=apart $answers
linear.big=reg4x4 $learns
linear.big=tile $answers
linear.big=tile $learns
linear.big=quad8 $answers
linear.big=quad8,linear_dx=quad8,linear_dw=quad8 $learns
linear_dw=reg8 $learns
linear_dx=reg4 $learns
linear_dx=tile $learns
rows=group $answers
rows=group $learns
attention=rows1x8 $learns
attention=tile $learns
attention=query $answers
attention=query $learns
attention_small=rows8x8 $answers
attention_small=query $answers
attention_small=append $answers
attention_dq=rows1x8 $learns
attention_dq=tile $learns
attention_dkv=rows8x1 $learns
attention_dkv=tile $learns
simd=base $learns
simd=avx2 $learns
simd=base $answers
simd=avx2 $answers
simd=base ops_
simd=avx2 ops_
"
log=target/test-logs/parity.log
mkdir -p target/test-logs
failed=()
ran=0
while read -r kernels test; do
  [ -n "$kernels" ] || continue
  if [ $# -gt 0 ] && [[ " $* " != *" $kernels "* ]]; then continue; fi
  head1 "$kernels"
  # `simd` is no class of kernels, but the processor's instruction set.
  if [[ $kernels == simd=* ]]; then forced=(FLEDGLING_SIMD="${kernels#simd=}"); else forced=(FLEDGLING_KERNELS="$kernels"); fi
  # Four threads side by side: Chromium's software adapter has them, which other programs can use, too.
  if [[ $kernels == *quad* ]]; then
    icd=$(dirname "$(readlink -f "$(command -v "${CHROME:-chromium}")")")/vk_swiftshader_icd.json
    [ -f "$icd" ] || icd=/usr/lib/chromium/vk_swiftshader_icd.json
    [ -f "$icd" ] || die "no SwiftShader beside Chromium (CHROME): $kernels needs it"
    forced+=(VK_DRIVER_FILES="$icd")
  fi
  if [ "$test" = ops_ ]; then tests=(--test suite -- ops_); else tests=(--test real -- --nocapture --exact "$test" "lora::$test"); fi
  env -u FLEDGLING_KERNELS -u FLEDGLING_SIMD "${forced[@]}" cargo test --quiet "${tests[@]}" >"$log" 2>&1 || failed+=("$kernels")
  # A name that no test has passes without one.
  grep -q 'result: ok\. [1-9][0-9]* passed' "$log" || [[ " ${failed[*]-} " == *" $kernels "* ]] || failed+=("$kernels")
  ran=$((ran + 1))
  grep -E '^on |largest|cosine|tokens agree|panicked|test result' "$log" || true
done <<<"$forms"
printf '\n'
[ "$ran" != 0 ] || die "none of its variants was named: $*"
[ ${#failed[@]} = 0 ] || die "departs from the oracle with: ${failed[*]}"
say "all $ran agree with the oracle"
