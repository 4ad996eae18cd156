#!/usr/bin/env bash
# Builds the engine for the browser into www/pkg (wasm-bindgen's "web" target), shrinks it, prints the sizes.
# Does nothing when the sources are what they were.
. "$(dirname "$0")/env.sh"

OUT=www/pkg
WASM=$OUT/fledgling_bg.wasm
# 3: the processor's kernels want their loops unrolled and vectorized; it costs about 100 kB after gzip over s.
OPT_LEVEL=${WASM_OPT_LEVEL:-3}

head1 "WebAssembly"
sources=$(find src shaders .cargo build.rs Cargo.toml Cargo.lock scripts/wasm.sh -type f -not -path 'src/bin/*' | LC_ALL=C sort)
# shellcheck disable=SC2086
stamp=$({ cksum $sources; echo "$OPT_LEVEL"; } | cksum)
if [ "$(cat "$OUT/.stamp" 2>/dev/null)" = "$stamp" ] && [ -f "$WASM" ]; then
  say "up to date"
else
  for t in wasm-pack wasm-bindgen wasm-opt; do have $t || die "$t is missing: run 'make setup'"; done
  rm -f "$OUT/.stamp"
  say "wasm-pack build --release (link-time optimization: a few minutes the first time)"
  # wasm-opt is run below instead, with the features that rustc's output uses.
  CARGO_PROFILE_RELEASE_OPT_LEVEL=$OPT_LEVEL for_wasm wasm-pack --quiet build . --release --target web --no-opt --no-pack --out-dir "$OUT" --out-name fledgling -- --no-default-features
  wasm-opt -Os --converge --strip-debug --strip-producers --enable-bulk-memory --enable-bulk-memory-opt --enable-nontrapping-float-to-int --enable-sign-ext \
    --enable-simd --enable-mutable-globals --enable-reference-types --enable-multivalue "$WASM" -o "$WASM.opt"
  mv "$WASM.opt" "$WASM"
  rm -f "$OUT/.gitignore"
  echo "$stamp" >"$OUT/.stamp"
fi
for f in "$WASM" "$OUT/fledgling.js"; do
  say "$(printf '%-28s %9d bytes, %8d gzipped' "$f" "$(wc -c <"$f")" "$(gzip_size "$f")")"
done
