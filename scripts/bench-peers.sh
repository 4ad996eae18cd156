#!/usr/bin/env bash
# The same work on fledgling and on other people's engines, taking turns: PyTorch with PEFT, natively on the processor (where
# `PYTHON`, python3 by default, has them), then transformers.js, wllama, jax-js and @genai-fi/nanogpt in one headless Chromium. A
# table and a line of JSON for each. The engines of the browser come from npm, into www/bench/peers, for this script alone (900 MB, once).
# Settings: see www/bench/peers/peers.mjs.
#   scripts/bench-peers.sh [native|browser]
. "$(dirname "$0")/env.sh"

which=${1:-all}
if [ "$which" != browser ]; then
  head1 "Native, on the processor"
  cargo build --quiet --release
  python=${PYTHON:-python3}
  if "$python" -c 'import torch, transformers, peft' 2>/dev/null; then
    node www/bench/peers/native.mjs "$python"
  else
    warn "$python has no torch, transformers and peft: PyTorch is left out (tests/oracle/requirements.txt)"
  fi
fi
[ "$which" != native ] || exit 0

head1 "Model"
FLEDGLING_MODEL=${FLEDGLING_MODEL:-$(scripts/fetch-model.sh | tee >(cat >&2) | tail -n 1)}
export FLEDGLING_MODEL
scripts/setup.sh npm >/dev/null
scripts/wasm.sh
scripts/page.sh package
head1 "The other engines"
peers=www/bench/peers
stamp=$peers/node_modules/.fledgling-stamp
if [ "$(cat "$stamp" 2>/dev/null)" = "$(cksum <"$peers/package.json")" ]; then say "up to date"
else
  say "npm install in $peers"
  # Their install scripts fetch native builds that no page uses.
  (cd "$peers" && npm install --no-fund --no-audit --no-package-lock --ignore-scripts --loglevel=error) || die "npm could not install the other engines"
  cksum <"$peers/package.json" >"$stamp"
  say "installed"
fi
head1 "Chromium"
node www/bench/peers/peers.mjs
