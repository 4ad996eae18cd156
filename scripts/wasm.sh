#!/usr/bin/env bash
# Builds the engine for the browser into www/pkg (wasm-bindgen's "web" target), shrinks it, prints the sizes; then once more for a shared memory,
# into www/pkg/threads, where the sources of std can be had (FLEDGLING_NO_WASM_THREADS=1: not).
# Does nothing when the sources are what they were.
. "$(dirname "$0")/env.sh"

OUT=www/pkg
# 3: the processor's kernels want their loops unrolled and vectorized; it costs about 100 kB after gzip over s.
OPT_LEVEL=${WASM_OPT_LEVEL:-3}

head1 "WebAssembly"
sources=$(find src shaders .cargo build.rs Cargo.toml Cargo.lock scripts/wasm.sh -type f -not -path 'src/bin/*' | LC_ALL=C sort)

# stamp_of MORE: what a build was made from.
# shellcheck disable=SC2086
stamp_of() { { cksum $sources; echo "$OPT_LEVEL $*"; } | cksum; }

# fresh DIR STAMP
fresh() { [ "$(cat "$1/.stamp" 2>/dev/null)" = "$2" ] && [ -f "$1/fledgling.js" ]; }

# build DIR STAMP ENVIRONMENT… -- MORE…: `MORE` for cargo, in front of whatever comes for wasm-opt behind a second --
build() {
  local dir=$1 stamp=$2 environment=() cargo=()
  shift 2
  while [ "$1" != -- ]; do environment+=("$1"); shift; done; shift
  while [ "$1" != -- ]; do cargo+=("$1"); shift; done; shift
  rm -f "$dir/.stamp"
  # wasm-opt is run below instead, with the features that rustc's output uses.
  for_wasm env CARGO_PROFILE_RELEASE_OPT_LEVEL="$OPT_LEVEL" ${environment[@]+"${environment[@]}"} \
    wasm-pack --quiet build . --release --target web --no-opt --no-pack --out-dir "$dir" --out-name fledgling -- --no-default-features ${cargo[@]+"${cargo[@]}"} || return 1
  wasm-opt -Os --converge --strip-debug --strip-producers --enable-bulk-memory --enable-bulk-memory-opt --enable-nontrapping-float-to-int --enable-sign-ext \
    --enable-simd --enable-mutable-globals --enable-reference-types --enable-multivalue "$@" "$dir/fledgling_bg.wasm" -o "$dir/fledgling_bg.wasm.opt" || return 1
  mv "$dir/fledgling_bg.wasm.opt" "$dir/fledgling_bg.wasm"
  rm -f "$dir/.gitignore"
  echo "$stamp" >"$dir/.stamp"
}

# The same engine over a memory that workers share. std has to be built for it, too, and no toolchain carries that: the compiler is told to do as on
# nightly for this one build.
with_threads() {
  local features='+simd128,+atomics,+bulk-memory,+mutable-globals' flags export
  flags="-C target-feature=$features -C link-arg=--shared-memory -C link-arg=--import-memory -C link-arg=--max-memory=4294967296"
  # What wasm-bindgen needs to give each thread a stack and its own variables.
  for export in __wasm_init_tls __tls_size __tls_align __tls_base __stack_pointer; do flags="$flags -C link-arg=--export=$export"; done
  build "$OUT/threads" "$1" RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}/wasm-threads" \
    -- -Zbuild-std=std,panic_abort -- --enable-threads
}

# Whoever imports it finds that there are no threads; bundlers want a file.
without_threads() { # why
  rm -rf "$OUT/threads"
  mkdir -p "$OUT/threads"
  echo '// Built without threads (scripts/wasm.sh): the engine goes on with one.' >"$OUT/threads/fledgling.js"
  warn "no threads in the browser: $1"
}

need_tools() {
  local t
  for t in wasm-pack wasm-bindgen wasm-opt; do have $t || die "$t is missing: run 'make setup'"; done
}

stamp=$(stamp_of)
if fresh "$OUT" "$stamp" && [ -f "$OUT/fledgling_bg.wasm" ]; then
  say "up to date"
else
  need_tools
  say "wasm-pack build --release (link-time optimization: a few minutes the first time)"
  build "$OUT" "$stamp" -- --
fi

stamp=$(stamp_of threads)
if [ -n "${FLEDGLING_NO_WASM_THREADS:-}" ]; then without_threads "FLEDGLING_NO_WASM_THREADS is set"
elif ! has_std_sources; then without_threads "this toolchain has no sources of std (rustup component add rust-src; Debian: rust-web-src)"
elif fresh "$OUT/threads" "$stamp"; then
  if [ -f "$OUT/threads/fledgling_bg.wasm" ]; then say "with threads: up to date"
  else warn "no threads in the browser: the build failed ($OUT/threads.log; remove $OUT/threads to try again)"; fi
else
  need_tools
  say "the same with threads, and std with it (as long again)"
  log=$OUT/threads.log
  if with_threads "$stamp" >"$log" 2>&1; then rm -f "$log"
  else
    tail -n 10 "$log" >&2
    without_threads "the build failed ($log)"
    echo "$stamp" >"$OUT/threads/.stamp" # the same sources would fail again
  fi
fi

for f in "$OUT/fledgling_bg.wasm" "$OUT/fledgling.js" "$OUT/threads/fledgling_bg.wasm" "$OUT/threads/fledgling.js"; do
  [ ! -f "$f" ] || say "$(printf '%-36s %9d bytes, %8d gzipped' "$f" "$(wc -c <"$f")" "$(gzip_size "$f")")"
done
