#!/usr/bin/env bash
# Builds the engine for the browser into www/pkg (wasm-bindgen's "web" target), and once more for a shared memory into www/pkg/threads, where the
# sources of std can be had (FLEDGLING_NO_WASM_THREADS=1: not); shrinks both and prints their sizes.
#   scripts/wasm.sh              both, side by side: each is one long link-time optimization on one core
#   scripts/wasm.sh first        what a page needs to begin: the one without threads, as large as the compiler left it; the rest is for a later call
#   scripts/wasm.sh is-complete  says by its status whether there is nothing left to do
#   scripts/wasm.sh compile      the compiler's part of `first`, for which wasm-bindgen and wasm-opt need not be there yet
# Does nothing when the sources are what they were.
. "$(dirname "$0")/env.sh"

OUT=www/pkg
LOGS=target/wasm-logs
# 3: the processor's kernels want their loops unrolled and vectorized; it costs about 100 kB after gzip over s.
OPT_LEVEL=${WASM_OPT_LEVEL:-3}
# Kernels ask for their inlining themselves; elsewhere copies of functions only cost bytes.
FEW_COPIES='-C llvm-args=-inline-threshold=40'
# What is fast is our own: libraries (wgpu's bindings, JSON) may be small.
SMALL='profile.release.package."*".opt-level="z"'
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
what=${1:-both}

sources=$(find src shaders .cargo build.rs Cargo.toml Cargo.lock scripts/wasm.sh -type f -not -path 'src/bin/*' | LC_ALL=C sort)

# stamp_of MORE: what a build was made from.
# shellcheck disable=SC2086
stamp_of() { { cksum $sources; echo "$OPT_LEVEL $*"; } | cksum; }

# fresh DIR STAMP
fresh() { [ "$(cat "$1/.stamp" 2>/dev/null)" = "$2" ] && [ -f "$1/fledgling.js" ]; }

# compile TARGET_DIR [option of cargo…]: without the library for Rust beside it, for which cargo would leave out the link-time optimization
compile() {
  local target=$1
  shift
  CARGO_TARGET_DIR=$target CARGO_PROFILE_RELEASE_OPT_LEVEL=$OPT_LEVEL \
    RUSTFLAGS=${RUSTFLAGS:--C target-feature=+simd128}" $FEW_COPIES" \
    for_wasm cargo rustc --quiet --release --lib --crate-type cdylib --target "$WASM_TARGET" --no-default-features --config "$SMALL" "$@"
}

# The same engine over a memory that workers share. std has to be built for it, too, and no toolchain carries that: the compiler is told to do as on
# nightly for this one build.
compile_with_threads() {
  local features='+simd128,+atomics,+bulk-memory,+mutable-globals' flags export
  flags="-C target-feature=$features -C link-arg=--shared-memory -C link-arg=--import-memory -C link-arg=--max-memory=4294967296"
  # What wasm-bindgen needs to give each thread a stack and its own variables.
  for export in __wasm_init_tls __tls_size __tls_align __tls_base __stack_pointer; do flags="$flags -C link-arg=--export=$export"; done
  RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" compile "$TARGET/wasm-threads" -Zbuild-std=std,panic_abort
}

# glue TARGET_DIR DIR: the module and the JavaScript around it
glue() {
  rm -f "$2/.stamp"
  wasm-bindgen --target web --out-dir "$2" --out-name fledgling "$1/$WASM_TARGET/release/fledgling.wasm"
}

# shrink DIR [option of wasm-opt…], with the features that rustc's output uses. --converge would take four times as long for half a percent.
shrink() {
  local dir=$1
  shift
  wasm-opt -Os --strip-debug --strip-producers --enable-bulk-memory --enable-bulk-memory-opt --enable-nontrapping-float-to-int \
    --enable-sign-ext --enable-simd --enable-mutable-globals --enable-reference-types --enable-multivalue "$@" \
    "$dir/fledgling_bg.wasm" -o "$dir/fledgling_bg.wasm.opt" && mv "$dir/fledgling_bg.wasm.opt" "$dir/fledgling_bg.wasm"
}

# The stamp is written when everything before it went well.
one() { compile "$TARGET" && glue "$TARGET" "$OUT" && shrink "$OUT" && echo "$1" >"$OUT/.stamp"; }
many() {
  compile_with_threads && glue "$TARGET/wasm-threads" "$OUT/threads" && shrink "$OUT/threads" --enable-threads && echo "$1" >"$OUT/threads/.stamp"
}

# Whoever imports it finds that there are no threads; bundlers want a file.
no_threads() {
  rm -rf "$OUT/threads"
  mkdir -p "$OUT/threads"
  echo '// Built without threads (scripts/wasm.sh): the engine goes on with one.' >"$OUT/threads/fledgling.js"
}
without_threads() { # why
  no_threads
  warn "no threads in the browser: $1"
}

need_tools() {
  local t
  for t in wasm-bindgen wasm-opt; do have $t || die "$t is missing: run 'make setup'"; done
}

sizes() {
  local f
  for f in "$OUT/fledgling_bg.wasm" "$OUT/fledgling.js" "$OUT/threads/fledgling_bg.wasm" "$OUT/threads/fledgling.js"; do
    [ ! -f "$f" ] || say "$(printf '%-36s %9d bytes, %8d gzipped' "$f" "$(wc -c <"$f")" "$(gzip_size "$f")")"
  done
}

stamp=$(stamp_of)
stamp_threads=$(stamp_of threads)
case $what in
  compile)
    fresh "$OUT" "$stamp" || fresh "$OUT" "first $stamp" || compile "$TARGET"
    exit ;;
  is-complete)
    fresh "$OUT" "$stamp" || exit 1
    [ -n "${FLEDGLING_NO_WASM_THREADS:-}" ] || ! has_std_sources || fresh "$OUT/threads" "$stamp_threads"
    exit ;;
  first)
    head1 "WebAssembly"
    if fresh "$OUT" "$stamp" || fresh "$OUT" "first $stamp"; then say "up to date"
    else
      need_tools
      say "cargo build --release (link-time optimization: a few minutes the first time)"
      compile "$TARGET" || die "the engine could not be compiled"
      glue "$TARGET" "$OUT" || die "wasm-bindgen failed"
      echo "first $stamp" >"$OUT/.stamp"
    fi
    # One of other sources would not fit this one's glue.
    fresh "$OUT/threads" "$stamp_threads" || no_threads
    sizes
    exit ;;
  both) ;;
  *) die "wasm.sh: unknown part '$what' (both, first, compile, is-complete)" ;;
esac

head1 "WebAssembly"
mkdir -p "$LOGS"
one_pid='' many_pid=''
if fresh "$OUT" "$stamp" && [ -f "$OUT/fledgling_bg.wasm" ]; then say "up to date"
else
  need_tools
  say "cargo build --release (link-time optimization: a few minutes the first time)"
  one "$stamp" >"$LOGS/one.log" 2>&1 &
  one_pid=$!
fi
if [ -n "${FLEDGLING_NO_WASM_THREADS:-}" ]; then without_threads "FLEDGLING_NO_WASM_THREADS is set"
elif ! has_std_sources; then without_threads "this toolchain has no sources of std (rustup component add rust-src; Debian: rust-web-src)"
elif fresh "$OUT/threads" "$stamp_threads"; then
  if [ -f "$OUT/threads/fledgling_bg.wasm" ]; then say "with threads: up to date"
  else warn "no threads in the browser: the build failed ($LOGS/threads.log; remove $OUT/threads to try again)"; fi
else
  need_tools
  say "the same with threads, and std with it, beside it"
  mkdir -p "$OUT/threads"
  many "$stamp_threads" >"$LOGS/threads.log" 2>&1 &
  many_pid=$!
fi
if [ -n "$one_pid" ] && ! wait "$one_pid"; then
  [ -z "$many_pid" ] || kill "$many_pid" 2>/dev/null || true
  tail -n 40 "$LOGS/one.log" >&2
  die "the engine could not be built ($LOGS/one.log)"
fi
if [ -n "$many_pid" ] && ! wait "$many_pid"; then
  tail -n 10 "$LOGS/threads.log" >&2
  without_threads "the build failed ($LOGS/threads.log)"
  echo "$stamp_threads" >"$OUT/threads/.stamp" # the same sources would fail again
fi
sizes
