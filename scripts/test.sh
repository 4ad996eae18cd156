#!/usr/bin/env bash
# The suites, stage by stage.
#   scripts/test.sh all                 setup, model, every stage
#   scripts/test.sh check               what they need, then formatting, lints, docs, types, and whether generated files are up to date
#   scripts/test.sh native browser …    single stages (see STAGES), one after another or LANES at a time; FILTER=ops_norm:: for some of native and browser
# A stage fails when its command fails, and also when it ran no test. All stages run even if one fails; the end says how long each took, and sums up.
# `all` and `check` keep LANES stages (2) under way: what compiles ends on one core, and a test often waits for one thread. A stage's output comes when
# it ends; until then it is in target/test-logs.
. "$(dirname "$0")/env.sh"

# In the order in which they begin: long ones first, and beside a build that uses the machine little what computes much.
STAGES="wasm clippy native format licences types fuzz clippy-wasm doc browser package page-real page-engine environments shaders real page page-clock"
LOGS=target/test-logs
mkdir -p "$LOGS"

# wgpu's Vulkan and GL loaders complain without one.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}
# Real-model tests in a software-adapter browser take minutes each.
export WASM_BINDGEN_TEST_TIMEOUT=${WASM_BINDGEN_TEST_TIMEOUT:-3600}
# Beside another stage a driver takes longer to answer than the five seconds that it has by default.
export WASM_BINDGEN_TEST_DRIVER_TIMEOUT=${WASM_BINDGEN_TEST_DRIVER_TIMEOUT:-60}

# title STAGE
title() {
  case $1 in
    format) echo "Formatting" ;;
    clippy) echo "Lints, native" ;;
    clippy-wasm) echo "Lints, wasm32" ;;
    doc) echo "Documentation of the crate" ;;
    licences) echo "Licences and notices of what ships" ;;
    fuzz) echo "Every parser over mutated files" ;;
    generated) echo "What is made from the table of methods" ;;
    wasm) echo "The engine as it ships, the package and the page" ;;
    shaders) echo "Every shader in every declared variant, without a GPU" ;;
    native) echo "Native: units, kernels, gradients, models, training" ;;
    real) echo "Native: the real model against its oracle" ;;
    browser) echo "The same suite in headless Chromium" ;;
    types) echo "TypeScript: types, formatting, lints" ;;
    package) echo "The packed npm package in fresh projects" ;;
    environments) echo "The npm package in what people build with: bundlers, an extension, Node, Deno" ;;
    page) echo "The page, driven by Playwright" ;;
    page-clock) echo "The page again: what looks at the clock" ;;
    page-engine) echo "The page that ships, on the real engine and a tiny model" ;;
    page-real) echo "The page, SmolLM2: load, ask, rank, learn, ask again" ;;
    *) return 1 ;;
  esac
}

# Stages that run tests; the others pass or fail as a whole.
is_tests() {
  case $1 in
    generated | shaders | fuzz | native | real | browser | package | environments | page | page-clock | page-engine | page-real) true ;;
    *) false ;;
  esac
}
# What a stage needs to have passed, where that is among what was asked for.
needs() { case $1 in package | environments | page-engine | page-real) echo wasm ;; esac; }
# Stages that look at the clock: nothing else runs beside them.
is_alone() { [ "$1" = page-clock ]; }

command_of() {
  case $1 in
    format) cargo fmt --all --check ;;
    clippy) cargo clippy --quiet --workspace --all-targets -- -D warnings ;;
    clippy-wasm) lint_wasm ;;
    doc) RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items ;;
    wasm) scripts/wasm.sh && scripts/page.sh package && scripts/page.sh page ;;
    generated) native --test generated -- ;;
    licences) node scripts/notices.mjs --check ;;
    fuzz) cargo test --quiet --test fuzz ;;
    shaders) native --test suite -- shaders:: ;;
    native) units && native --lib --test suite --test cli --test generated -- --skip shaders:: ${FILTER:+"$FILTER"} ;;
    real) native --test real -- ;;
    browser) browser ;;
    types) in_www check ;;
    package) in_www test:package ;;
    environments) in_www test:environments ;;
    page) in_www test:page -- --grep-invert @clock ;;
    page-clock) in_www test:page -- --grep @clock ;;
    page-engine) in_www test:page:engine ;;
    page-real) in_www test:page:real ;;
  esac
}

# With what each test took, which libtest gives only where it is called an unstable one: at run time, so that nothing is compiled differently.
native() {
  local runner
  runner=CARGO_TARGET_$(rustc -vV | awk '/^host:/ { print toupper($2) }' | tr - _)_RUNNER
  env "$runner=env RUSTC_BOOTSTRAP=1" cargo test --no-fail-fast "$@" --test-threads="$TEST_NATIVE_THREADS" -Zunstable-options --report-time
}

# The kernels' own: unoptimized, which is no slower to run and spares compiling each for every instruction set once more.
units() {
  cargo test --quiet -p fledgling-compute --lib --config 'profile.dev.package.fledgling-compute.opt-level=0' ${FILTER:+-- "$FILTER"}
}

browser() {
  local driver chrome
  driver=$(command -v chromedriver) || { warn "no chromedriver found"; return 1; }
  chrome=$(find_chrome) || { warn "no Chrome or Chromium found"; return 1; }
  say "$("$chrome" --version 2>/dev/null)"
  # The flags of the browser are in webdriver.json.
  CHROMEDRIVER=$driver WASM_BINDGEN_TEST_ONLY_WEB=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner \
    for_wasm cargo test --target "$WASM_TARGET" --no-default-features --test suite ${FILTER:+-- "$FILTER"}
}

in_www() { (cd www && npm run --silent "$@"); }

lint_wasm() {
  if for_wasm cargo clippy --version >/dev/null 2>&1; then
    for_wasm cargo clippy --quiet --target "$WASM_TARGET" --no-default-features --lib --test suite -- -D warnings
  else # Debian's toolchain has no clippy: the compiler's own warnings, then
    RUSTFLAGS="-D warnings -C target-feature=+simd128" for_wasm cargo check --quiet --target "$WASM_TARGET" --no-default-features --lib --test suite
  fi
}

# --- one stage, in a process of its own: what it took is what its children took ------------------------------------
if [ "${1:-}" = --stage ]; then
  head1 "$(title "$2")"
  begin=$(date +%s) status=0
  (command_of "$2") || status=$?
  times >"$LOGS/$2.times" # in this process: a pipe would have its own
  cpu=$(awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); s += t[1] * 60 + t[2] } printf "%d", s }' "$LOGS/$2.times")
  echo "$status $(($(date +%s) - begin)) $cpu" >"$LOGS/$2.end"
  exit 0
fi

# --- what the runners print -----------------------------------------------------------------------------------------
# `head -n`, but whoever writes to it is not killed for what nobody reads: that would end this script.
first() { awk -v n="$1" 'NR <= n'; }

# Sums up: libtest and wasm-bindgen-test, Playwright, node:test, and a plain "N passed, M failed".
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
  sed $'s/\033\\[[0-9;]*m//g' "$1" | grep -E '^(test .* \.\.\. FAILED|FAIL |not ok |error)|✘|^ +[0-9]+\) |panicked at|Error: ' | cut -c1-300 |
    awk '!seen[$0]++' | first 16
}

# Tests that passed only at their second try, one a line.
second_tries() { # log
  sed $'s/\033\\[[0-9;]*m//g' "$1" |
    awk '/^ +[0-9]+ flaky( |$)/ { on = 1; next } /^ +[0-9]+ [a-z]/ { on = 0 } on && NF { sub(/^ +/, ""); sub(/ ─+$/, ""); print }'
}

# "seconds stage: test" of each test whose runner says how long it took: libtest, Playwright, the package's own.
times_of() { # stage
  sed $'s/\033\\[[0-9;]*m//g' "$LOGS/$1.log" | awk -v stage="$1" '
    function took(t) { return t ~ /ms$/ ? t / 1000 : t ~ /m$/ ? t * 60 : t + 0 }
    function print_one(t) { printf "%.1f %s: %s\n", took(t), stage, $0 }
    /^test .* <[0-9.]+s>$/ { t = $NF; gsub(/[<>]/, "", t); $0 = $2; print_one(t); next }
    /^ +(✓|✘) +[0-9]+ .*\([0-9.]+m?s?\)$/ { t = $NF; gsub(/[()]/, "", t); sub(/^ +[^ ]+ +[0-9]+ /, ""); sub(/ \([^(]*\)$/, ""); print_one(t); next }
    /^(ok|FAIL) .* \([0-9.]+ s\)$/ { t = $(NF - 1); sub(/\(/, "", t); sub(/^[A-Za-z]+ +/, ""); sub(/ +\([^(]*\)$/, ""); print_one(t) }'
}

# --- the stages that are wanted -------------------------------------------------------------------------------------
begin=$(date +%s)
lanes=1
wanted=()
for arg in "${@:-all}"; do
  case $arg in
    all)
      scripts/setup.sh
      head1 "Models"; MODEL='' scripts/fetch-model.sh; scripts/fetch-model.sh gemma3
      # shellcheck disable=SC2206
      wanted+=($STAGES)
      lanes=${LANES:-2} ;;
    check)
      scripts/setup.sh check
      wanted+=(clippy clippy-wasm generated doc format licences types)
      lanes=${LANES:-2} ;;
    *)
      lanes=${LANES:-1}
      title "$arg" >/dev/null || die "unknown stage '$arg' (one of: all check $STAGES)"
      wanted+=("$arg") ;;
  esac
done
[ "$(cores)" -gt 1 ] || lanes=1
setup_seconds=$(($(date +%s) - begin))
begin=$(date +%s)

passed=0 failed=0 slow=
failures=() seconds=() table=() running=() bad=()

has() { # word list…
  local w=$1 x
  shift
  for x in "$@"; do [ "$x" != "$w" ] || return 0; done
  return 1
}

# ended STAGE: counts what its log says
ended() {
  local s=$1 log=$LOGS/$1.log status=1 took=0 cpu=0 p=0 f=0 verdict
  [ ! -f "$LOGS/$s.end" ] || read -r status took cpu <"$LOGS/$s.end"
  [ "$lanes" = 1 ] || cat "$log"
  if is_tests "$s"; then
    read -r p f <<<"$(count "$log")"
    if [ "$p" = 0 ] && [ "$f" = 0 ]; then
      warn "$s: no test ran"
      status=1
    fi
    while read -r t; do seconds+=("$s: $t"); done < <(second_tries "$log")
    slow=$slow$(times_of "$s" | sort -rn | first 12)$'\n'
  fi
  if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
  passed=$((passed + p)); failed=$((failed + f))
  if [ "$f" != 0 ]; then failures+=("$s"); bad+=("$s"); fi
  if is_tests "$s"; then verdict="$p passed, $f failed"; elif [ "$f" = 0 ]; then verdict=ok; else verdict=FAILED; fi
  table+=("$(printf '%-12s %6d s %6d s   %s' "$s" "$took" "$cpu" "$verdict")")
  say "$s: $verdict, $took s"
}

begun() {
  rm -f "$LOGS/$1.end"
  if [ "$lanes" = 1 ]; then
    bash "$0" --stage "$1" 2>&1 | tee "$LOGS/$1.log" || true
    ended "$1"
  else
    say "$1: begun ($LOGS/$1.log)"
    bash "$0" --stage "$1" >"$LOGS/$1.log" 2>&1 </dev/null &
    running+=("$1:$!")
  fi
}

# may_begin STAGE: nothing that it waits for is still to come, and nobody who wants to be alone is disturbed
may_begin() {
  local r n
  n=$(needs "$1")
  for r in ${running[@]+"${running[@]}"}; do
    [ "${r%%:*}" != "$n" ] || return 1
    ! is_alone "${r%%:*}" || return 1
  done
  ! has "${n:-none}" ${wanted[@]+"${wanted[@]}"} || return 1
  ! is_alone "$1" || [ ${#running[@]} = 0 ]
}

# What each stage took.
took() {
  head1 "What each stage took: by the clock, and of all cores together"
  [ ${#table[@]} = 0 ] || printf '   %s\n' "${table[@]}"
  say "$(printf '%-12s %6d s            %s' together $(($(date +%s) - begin)) "behind $setup_seconds s of set-up, $lanes at a time, $(cores) cores")"
}

# Whoever stops this wants to know where the time went.
stopped() {
  took
  say "stopped while these ran: ${running[*]+${running[*]%%:*}}; still to come: ${wanted[*]+${wanted[*]}}"
  trap - TERM INT
  kill -- ${running[@]+"${running[@]##*:}"} 2>/dev/null || true
  exit 143
}
trap stopped TERM INT

while [ ${#wanted[@]} -gt 0 ] || [ ${#running[@]} -gt 0 ]; do
  still=()
  for r in ${running[@]+"${running[@]}"}; do
    if [ ! -f "$LOGS/${r%%:*}.end" ] && kill -0 "${r##*:}" 2>/dev/null; then still+=("$r")
    else
      wait "${r##*:}" 2>/dev/null || true
      ended "${r%%:*}"
    fi
  done
  running=(${still[@]+"${still[@]}"})
  rest=()
  for s in ${wanted[@]+"${wanted[@]}"}; do
    if has "$(needs "$s")" ${bad[@]+"${bad[@]}"}; then
      warn "$s: not run, because $(needs "$s") failed"
      failed=$((failed + 1))
      bad+=("$s")
      table+=("$(printf '%-12s %8s %8s   not run' "$s" - -)")
    elif [ ${#running[@]} -lt "$lanes" ] && may_begin "$s"; then begun "$s"
    else rest+=("$s"); fi
  done
  wanted=(${rest[@]+"${rest[@]}"})
  [ ${#running[@]} = 0 ] || sleep 0.5
done

took
if [ -n "${slow//[[:space:]]/}" ]; then
  head1 "The slowest tests, in seconds"
  printf '%s' "$slow" | sort -rn | first 12 | cut -c1-150 | while read -r t; do [ -z "$t" ] || say "$t"; done
fi
for t in ${seconds[@]+"${seconds[@]}"}; do warn "passed only at the second try: $t"; done
if [ "$failed" != 0 ]; then
  for s in ${failures[@]+"${failures[@]}"}; do
    say "$s:"
    excerpt "$LOGS/$s.log" || true
  done
  say "failed: ${failures[*]+${failures[*]}} (logs in $LOGS)"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
