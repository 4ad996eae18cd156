#!/usr/bin/env bash
# The suites, stage by stage.
#   scripts/test.sh all                 setup, model, every stage
#   scripts/test.sh check               what they need, then formatting, lints, types
#   scripts/test.sh native browser …    single stages (see STAGES)
# A stage fails when its command fails, and also when it ran no test. All stages run even if one fails; the last line sums up.
. "$(dirname "$0")/env.sh"

STAGES="format clippy clippy-wasm shaders native real browser types package page page-engine page-real"
LOGS=target/test-logs
mkdir -p "$LOGS"

# wgpu's Vulkan and GL loaders complain without one.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}
# Real-model tests in a software-adapter browser take minutes each.
export WASM_BINDGEN_TEST_TIMEOUT=${WASM_BINDGEN_TEST_TIMEOUT:-1800}

passed=0
failed=0
failures=()
seconds=()

# Sums what the runners print: libtest and wasm-bindgen-test, Playwright, node:test, and a plain "N passed, M failed".
count() { # log
  sed $'s/\033\\[[0-9;]*m//g' "$1" | awk '
    /^test result:/ { for (i = 1; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1) } next }
    /^ +[0-9]+ (passed|flaky)( \(|$)/ { p += $1; next }
    /^ +[0-9]+ (failed|interrupted|timed out|did not run)( |$)/ { f += $1; next }
    /^(#|ℹ) pass [0-9]+$/ { p += $3; next }
    /^(#|ℹ) fail [0-9]+$/ { f += $3; next }
    /^[0-9]+ passed, [0-9]+ failed$/ { p += $1; f += $3 }
    END { print p + 0, f + 0 }'
}

# What failed, for the end of the output: the tests' names and the first line of what they said.
excerpt() { # log
  sed $'s/\033\\[[0-9;]*m//g' "$1" | grep -E '^(test .* \.\.\. FAILED|FAIL |not ok |error)|✘|^ +[0-9]+\) |panicked at|Error: ' | cut -c1-300 | awk '!seen[$0]++' | head -n 16
}

# Tests that passed only at their second try, one a line.
second_tries() { # log
  sed $'s/\033\\[[0-9;]*m//g' "$1" | awk '/^ +[0-9]+ flaky( |$)/ { on = 1; next } /^ +[0-9]+ [a-z]/ { on = 0 } on && NF { sub(/^ +/, ""); sub(/ ─+$/, ""); print }'
}

# stage NAME TITLE tests|plain command…
stage() {
  local name=$1 title=$2 kind=$3 log status=0 p f start
  shift 3
  log=$LOGS/$name.log
  start=$(date +%s)
  head1 "$title"
  "$@" 2>&1 | tee "$log" || status=$?
  read -r p f <<<"$(count "$log")"
  [ "$kind" = plain ] && { p=0; f=0; }
  if [ "$kind" = tests ] && [ "$p" = 0 ] && [ "$f" = 0 ]; then
    warn "$name: no test ran"
    status=1
  fi
  if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
  passed=$((passed + p)); failed=$((failed + f))
  if [ "$f" != 0 ]; then failures+=("$name"); fi
  while read -r t; do seconds+=("$name: $t"); done < <(second_tries "$log")
  if [ "$kind" = tests ]; then say "$name: $p passed, $f failed, $(( $(date +%s) - start )) s"; else say "$name: $([ "$status" = 0 ] && echo ok || echo FAILED), $(( $(date +%s) - start )) s"; fi
}

native() { cargo test "$@" --test-threads="$TEST_NATIVE_THREADS"; }

browser() {
  local driver chrome
  driver=$(command -v chromedriver || true)
  chrome=$(find_chrome) || { warn "no Chrome or Chromium found"; return 1; }
  say "$("$chrome" --version 2>/dev/null)"
  for_wasm wasm-pack test --headless --chrome ${driver:+--chromedriver "$driver"} --no-default-features --test suite
}

in_www() { (cd www && npm run --silent "$@"); }

run() {
  case $1 in
    format) stage format "Formatting" plain cargo fmt --check ;;
    clippy) stage clippy "Lints, native" plain cargo clippy --quiet --all-targets -- -D warnings ;;
    clippy-wasm) stage clippy-wasm "Lints, wasm32" plain lint_wasm ;;
    shaders) stage shaders "Every shader in every declared variant, without a GPU" tests native --test suite -- shaders:: ;;
    native) stage native "Native: units, kernels, gradients, models, training" tests native --lib --bins --test suite --test cli -- --skip shaders:: ;;
    real) stage real "Native: the real model against its oracle" tests native --test real -- ;;
    browser) stage browser "The same suite in headless Chromium" tests browser ;;
    types) stage types "TypeScript: types, formatting, lints" plain in_www check ;;
    package) stage package "The packed npm package in fresh projects" tests in_www test:package ;;
    page) stage page "The page, driven by Playwright" tests in_www test:page ;;
    page-engine) stage page-engine "The page that ships, on the real engine and a tiny model" tests in_www test:page:engine ;;
    page-real) stage page-real "The page, SmolLM2: load, ask, rank, learn, ask again" tests in_www test:page:real ;;
    *) die "unknown stage '$1' (one of: all check $STAGES)" ;;
  esac
}

lint_wasm() {
  if for_wasm cargo clippy --version >/dev/null 2>&1; then
    for_wasm cargo clippy --quiet --target "$WASM_TARGET" --no-default-features --lib --test suite -- -D warnings
  else # Debian's toolchain has no clippy: the compiler's own warnings, then
    RUSTFLAGS="-D warnings -C target-feature=+simd128" for_wasm cargo check --quiet --target "$WASM_TARGET" --no-default-features --lib --test suite
  fi
}

wanted=()
for arg in "${@:-all}"; do
  case $arg in
    all)
      scripts/setup.sh
      head1 "Model"; MODEL='' scripts/fetch-model.sh
      scripts/wasm.sh
      scripts/page.sh package
      scripts/page.sh page
      # shellcheck disable=SC2206
      wanted+=($STAGES) ;;
    check)
      scripts/setup.sh check
      wanted+=(format clippy clippy-wasm types) ;;
    *) wanted+=("$arg") ;;
  esac
done
for s in "${wanted[@]}"; do run "$s"; done

printf '\n'
for t in ${seconds[@]+"${seconds[@]}"}; do warn "passed only at the second try: $t"; done
if [ "$failed" != 0 ]; then
  for s in "${failures[@]}"; do
    say "$s:"
    excerpt "$LOGS/$s.log" || true
  done
  say "failed: ${failures[*]} (logs in $LOGS)"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
