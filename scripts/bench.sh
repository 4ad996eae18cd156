#!/usr/bin/env bash
# Speed, dispatch counts, memory and sizes: natively, then in headless Chromium (SwiftShader).
# A table for each; the last line is one JSON object {"native": …, "browser": …}.
#   scripts/bench.sh [native|browser]
. "$(dirname "$0")/env.sh"

which=${1:-all}
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}
head1 "Machine"
say "$(uname -sm), $(cores) cores,$(uptime | sed 's/.*load average/ load average/')"
head1 "Model"
model=$(scripts/fetch-model.sh | tee >(cat >&2) | tail -n 1)
mkdir -p target/bench
rm -f target/bench/*.out

if [ "$which" != browser ]; then
  head1 "Native"
  cargo build --quiet --release
  target/release/fledgling bench --model "$model" | tee target/bench/native.out
fi
if [ "$which" != native ]; then
  scripts/setup.sh npm >/dev/null
  scripts/wasm.sh
  scripts/page.sh package
  head1 "Chromium"
  (cd www && FLEDGLING_MODEL=$model npm run --silent bench) | tee target/bench/browser.out
fi

head1 "All of it"
node -e '
  const { readFileSync, existsSync } = require("node:fs");
  const all = {};
  for (const where of ["native", "browser"]) {
    const file = `target/bench/${where}.out`;
    if (!existsSync(file)) continue;
    all[where] = JSON.parse(readFileSync(file, "utf8").trim().split("\n").pop());
  }
  console.log(JSON.stringify(all));
'
