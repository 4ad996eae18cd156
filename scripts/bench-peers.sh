#!/usr/bin/env bash
# The same work on fledgling and on other people's engines, taking turns: PyTorch with PEFT, natively on the processor (where
# `PYTHON`, python3 by default, has them), then transformers.js, wllama, jax-js and @genai-fi/nanogpt in one headless Chromium. A
# table and a line of JSON for each. The engines of the browser come from npm, into www/bench/peers, for this script alone (900 MB, once), and
# the weights of transformers.js are made from the model (720 MB, once).
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
head1 "SmolLM2 as ONNX, for transformers.js"
# No package of a registry carries it: it is made from the GGUF, by Python packages that are installed for this alone.
if [ -n "${FLEDGLING_ONNX:-}" ]; then say "$FLEDGLING_ONNX"
else
  onnx=.cache/onnx
  made="$(cksum <"$FLEDGLING_MODEL") $(cksum <"$peers/to_onnx.py")"
  if [ "$(cat "$onnx/.stamp" 2>/dev/null)" = "$made" ]; then say "up to date"
  elif { [ -x .cache/onnx-python/bin/pip ] || "${PYTHON:-python3}" -m venv .cache/onnx-python; } &&
    .cache/onnx-python/bin/pip install --quiet --disable-pip-version-check numpy gguf==0.19.0 onnx==1.23.2 &&
    .cache/onnx-python/bin/python "$peers/to_onnx.py" "$FLEDGLING_MODEL" "$onnx"; then echo "$made" >"$onnx/.stamp"; say "made"
  else
    warn "could not be made (above): transformers.js is left out. Python 3 with venv is needed, or FLEDGLING_ONNX=<folder>"
    onnx=
  fi
  [ -z "$onnx" ] || export FLEDGLING_ONNX=$PWD/$onnx
fi
head1 "Chromium"
node www/bench/peers/peers.mjs
