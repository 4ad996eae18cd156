#!/usr/bin/env bash
# From nothing to the page in a browser: tools, model, build, server.
#   PORT=5173 HOST=127.0.0.1 MODEL=<file, folder or address> scripts/demo.sh [--no-build]
# What the page can begin without (the engine with threads, the last per cent of its size) is built beside it once it answers.
. "$(dirname "$0")/env.sh"

LOGS=target/demo-logs
begin=$(date +%s)
model=
# One that was asked for is looked at first: who mistyped it should not learn that after minutes of building.
if [ -n "${MODEL:-}" ]; then
  head1 "Model"
  model=$(scripts/fetch-model.sh | tee >(cat >&2) | tail -n 1)
fi
if [ "${1:-}" != --no-build ]; then
  mkdir -p "$LOGS"
  scripts/setup.sh build
  # The engine's compiler ends on one core and waits for no tool; tools, packages and the model have the others meanwhile.
  head1 "The engine, its tools, the page's packages and the model, side by side (logs in $LOGS)"
  pids=() parts=()
  beside() { # name command…
    local name=$1
    shift
    ("$@" && say "$name: $(( $(date +%s) - begin )) s") >"$LOGS/$name.log" 2>&1 &
    pids+=($!) parts+=("$name")
  }
  beside engine scripts/wasm.sh compile
  beside tools scripts/setup.sh tools
  beside packages scripts/setup.sh npm
  [ -n "$model" ] || beside model scripts/fetch-model.sh
  failed=
  for i in "${!pids[@]}"; do
    if wait "${pids[$i]}"; then tail -n 1 "$LOGS/${parts[$i]}.log"
    else
      tail -n 20 "$LOGS/${parts[$i]}.log" >&2
      failed="$failed ${parts[$i]}"
    fi
  done
  [ -z "$failed" ] || die "could not be had:$failed"
  scripts/wasm.sh first
  scripts/page.sh page
fi
[ -d www/dist/page ] || die "the page is not built: run 'make page'"
if [ -z "$model" ]; then
  head1 "Model"
  model=$(scripts/fetch-model.sh | tee >(cat >&2) | tail -n 1)
fi
[ -e "$model" ] || die "no model"

rest='' server=''
# Whoever ends this ends the server and what is still being built.
ended() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$rest" ] || kill -- "-$rest" 2>/dev/null || true
}
trap ended EXIT
trap 'exit 130' INT TERM HUP
if [ "${1:-}" != --no-build ]; then
  say "ready after $(( $(date +%s) - begin )) s"
  if ! scripts/wasm.sh is-complete; then
    say "the engine with threads is built meanwhile ($LOGS/rest.log): the page has it when it is loaded again"
    set -m # a process group of its own
    { nice scripts/wasm.sh && nice scripts/page.sh page over; } >"$LOGS/rest.log" 2>&1 </dev/null &
    rest=$!
    set +m
  fi
fi
node scripts/serve.mjs --root www/dist/page --model "$model" --host "${HOST:-127.0.0.1}" --port "${PORT:-5173}" &
server=$!
wait "$server"
