# Sourced by the other scripts: where things are, what to call, and how to say things. No side effects beyond variables.
# Works with the bash 3.2 of a Mac.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# What is costly to fetch or build is shared by all checkouts of one user.
FLEDGLING_CACHE=${FLEDGLING_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fledgling}
TOOLS=$FLEDGLING_CACHE/tools
PATH=$TOOLS/bin:$TOOLS/node_modules/.bin:$HOME/.cargo/bin:$PATH
export PATH FLEDGLING_CACHE

WASM_TARGET=wasm32-unknown-unknown
# The toolchain that a Debian with no reachable rustup server gets (see setup.sh wasm).
DEBIAN_TOOLCHAIN=debian

bold=''; plain=''
if [ -t 1 ]; then bold=$(printf '\033[1m'); plain=$(printf '\033[0m'); fi
head1() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
say()   { printf '   %s\n' "$*"; }
warn()  { printf '   ! %s\n' "$*" >&2; }
die()   { printf '\n%serror:%s %s\n' "$bold" "$plain" "$*" >&2; exit 1; }
have()  { command -v "$1" >/dev/null 2>&1; }

is_debian() { [ -f /etc/debian_version ] && have apt-get; }

# within SECONDS command…: `timeout` where there is one (a Mac has none), else a plain call.
within() {
  local seconds=$1; shift
  if have timeout; then timeout "$seconds" "$@"
  elif have gtimeout; then gtimeout "$seconds" "$@"
  else perl -e 'alarm shift; exec @ARGV' "$seconds" "$@"; fi
}

# Does this rustup toolchain (empty: the active one) have the standard library of wasm32?
has_wasm_std() {
  local sysroot
  if [ -n "${1:-}" ]; then sysroot=$(RUSTUP_TOOLCHAIN=$1 rustc --print sysroot 2>/dev/null) || return 1
  else sysroot=$(rustc --print sysroot 2>/dev/null) || return 1; fi
  ls "$sysroot/lib/rustlib/$WASM_TARGET/lib/"libstd-*.rlib >/dev/null 2>&1
}

# The toolchain for wasm32 builds: the active one where it has the target, Debian's otherwise.
wasm_toolchain() {
  if has_wasm_std; then rustup show active-toolchain 2>/dev/null | awk 'NR == 1 {print $1}'
  elif has_wasm_std "$DEBIAN_TOOLCHAIN"; then echo "$DEBIAN_TOOLCHAIN"
  fi
}

# for_wasm command…: run it with that toolchain.
for_wasm() {
  local toolchain
  toolchain=$(wasm_toolchain)
  if [ -n "$toolchain" ]; then RUSTUP_TOOLCHAIN=$toolchain "$@"
  elif has_wasm_std; then "$@" # no rustup, but the compiler has the target
  else die "no Rust toolchain here has the target $WASM_TARGET: run 'make setup'"; fi
}

# Does the toolchain for wasm32 builds have the sources of std? A shared memory needs it built anew.
has_std_sources() {
  local sysroot
  sysroot=$(for_wasm rustc --print sysroot 2>/dev/null) && [ -f "$sysroot/lib/rustlib/src/rust/library/Cargo.lock" ]
}

wasm_bindgen_version() {
  awk '$1=="name" && $3=="\"wasm-bindgen\"" {getline; gsub(/"/,"",$3); print $3; exit}' Cargo.lock
}

# $CHROME where it is set (anything else would surprise whoever set it), else what is found under the usual names.
find_chrome() {
  local c
  if [ -n "${CHROME:-}" ]; then command -v "$CHROME"; return; fi
  for c in chromium chromium-browser google-chrome google-chrome-stable chrome \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" /Applications/Chromium.app/Contents/MacOS/Chromium; do
    if have "$c"; then command -v "$c"; return 0; fi
  done
  return 1
}

cores() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }
# Tests are half host arithmetic (one thread each), half a software adapter (threaded by itself): as many as cores keeps both busy.
TEST_NATIVE_THREADS=${TEST_NATIVE_THREADS:-$(cores)}

gzip_size() { gzip -9 -c "$1" | wc -c | tr -d ' '; }
