#!/usr/bin/env bash
# From nothing to the page in a browser: tools, model, build, server.
#   PORT=5173 HOST=127.0.0.1 MODEL=<file, folder or address> scripts/demo.sh [--no-build]
. "$(dirname "$0")/env.sh"

model=
# One that was asked for is looked at first: who mistyped it should not learn that after minutes of building.
if [ -n "${MODEL:-}" ]; then
  head1 "Model"
  model=$(scripts/fetch-model.sh | tee >(cat >&2) | tail -n 1)
fi
if [ "${1:-}" != --no-build ]; then
  # Only what a demo needs: no browser, no Vulkan driver.
  scripts/setup.sh demo
  scripts/wasm.sh
  scripts/page.sh page
fi
[ -d www/dist/page ] || die "the page is not built: run 'make page'"
if [ -z "$model" ]; then
  head1 "Model"
  model=$(scripts/fetch-model.sh | tee >(cat >&2) | tail -n 1)
fi
[ -e "$model" ] || die "no model"
exec node scripts/serve.mjs --root www/dist/page --model "$model" --host "${HOST:-127.0.0.1}" --port "${PORT:-5173}"
