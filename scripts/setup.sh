#!/usr/bin/env bash
# Brings a machine to the state in which everything builds and every test runs.
#   scripts/setup.sh            all of it
#   scripts/setup.sh check      what formatting, lints and types need: no browser, no Vulkan driver, no WebAssembly tools
#   scripts/setup.sh system     operating system packages (Debian and its kin; elsewhere: says what is missing)
#   scripts/setup.sh wasm       the Rust target wasm32-unknown-unknown, and the sources of std
#   scripts/setup.sh build      operating system packages that building needs, and the wasm32 target
#   scripts/setup.sh tools      wasm-bindgen, wasm-opt
#   scripts/setup.sh npm        the npm packages of www/
# Safe to repeat: every step looks first and does only what is missing.
. "$(dirname "$0")/env.sh"

missing=()
need() { missing+=("$1"); warn "missing: $1"; }

# --- operating system -----------------------------------------------------------------------------------------------
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif have sudo; then sudo -n "$@" 2>/dev/null || sudo "$@"
  else return 1; fi
}

apt_updated=
apt_install() {
  local wanted=() p
  for p in "$@"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q '^install ok installed' || wanted+=("$p")
  done
  [ ${#wanted[@]} -eq 0 ] && return 0
  say "apt-get install ${wanted[*]}"
  mkdir -p "$FLEDGLING_CACHE"
  local log=$FLEDGLING_CACHE/apt.log
  if [ -z "$apt_updated" ]; then
    as_root apt-get update >"$log" 2>&1 || warn "apt-get update failed (see $log)"
    apt_updated=1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${wanted[@]}" >>"$log" 2>&1 \
    || { tail -n 5 "$log" >&2; return 1; }
}

has_vulkan() {
  local d
  [ "$(uname -s)" = Darwin ] && return 0 # Metal
  for d in /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d; do
    ls "$d"/*.json >/dev/null 2>&1 && return 0
  done
  [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ]
}

# "20.19" of `"node": ">=20.19"`
node_wanted() { sed -n 's/.*"node": *">=\([0-9.]*\)".*/\1/p' www/package.json; }
node_is_new() {
  [ "$(node -p "
    const [a, b = 0] = '$(node_wanted)'.split('.').map(Number), [x, y] = process.versions.node.split('.').map(Number);
    x > a || (x === a && y >= b)")" = true ]
}

# system [build]: with `build`, only what building needs
system() {
  local tests=yes
  [ "${1:-}" = build ] && tests=
  head1 "Operating system packages"
  if is_debian; then
    local packages=()
    have cc || packages+=(build-essential)
    have python3 && python3 -m pip --version >/dev/null 2>&1 || packages+=(python3 python3-pip)
    if [ -n "$tests" ]; then
      ls /usr/share/vulkan/icd.d/lvp_icd*.json >/dev/null 2>&1 || packages+=(mesa-vulkan-drivers)
      ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || packages+=(libvulkan1)
      find_chrome >/dev/null || packages+=(chromium)
      have chromedriver || packages+=(chromium-driver)
    fi
    if [ ${#packages[@]} -gt 0 ]; then
      apt_install "${packages[@]}" || warn "could not install: ${packages[*]}"
    fi
  fi
  have cargo && have rustc || need "Rust 1.90 or newer: https://rustup.rs"
  have cc || need "a C compiler and linker, for cargo (Debian: build-essential; Mac: xcode-select --install)"
  if have node; then
    node_is_new || need "Node $(node_wanted) or newer (this is $(node -v)): https://nodejs.org"
  else need "Node $(node_wanted) or newer: https://nodejs.org"; fi
  python3 -m pip --version >/dev/null 2>&1 || warn "no pip: it fetches the default model; without it pass MODEL=<file, folder or address>"
  [ -n "$tests" ] || return 0
  has_vulkan || need "a Vulkan driver, for the native tests (Debian, Ubuntu: mesa-vulkan-drivers; Fedora: mesa-vulkan-drivers; Arch: vulkan-swrast)"
  local chrome
  if chrome=$(find_chrome); then say "browser for tests: $chrome"; else need "Chrome or Chromium, for the browser tests (or set CHROME=/path/to/it)"; fi
  if have chromedriver; then say "driver: $(command -v chromedriver)"
  else need "chromedriver, for the browser tests (Debian: chromium-driver; Mac: brew install chromedriver)"
  fi
}

# --- the wasm32 target ----------------------------------------------------------------------------------------------
# Debian carries the compiler's sources with every crate that std needs, so std can be built with no network but apt's.
wasm_from_debian() {
  say "building the standard library of $WASM_TARGET from Debian's sources (about a minute, once)"
  apt_install rustc-web cargo-web rust-web-src libstd-rust-web-dev lld || return 1
  local lib=/usr/lib/rustlib/$WASM_TARGET/lib build=$FLEDGLING_CACHE/wasm-std vendor=/usr/lib/rustlib/src/rust/library/vendor lld
  if ! ls "$lib"/libstd-*.rlib >/dev/null 2>&1 || ! ls "$lib"/libtest-*.rlib >/dev/null 2>&1; then
    [ -d "$vendor" ] || { warn "$vendor is not there"; return 1; }
    rm -rf "$build"; mkdir -p "$build/src" "$build/.cargo"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n[lib]\ncrate-type = ["cdylib"]\n[workspace]\n' >"$build/Cargo.toml"
    : >"$build/src/lib.rs"
    printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "%s"\n' "$vendor" >"$build/.cargo/config.toml"
    # `test` is in the list because the browser tests link libtest.
    (cd "$build" && env -u RUSTUP_TOOLCHAIN -u RUSTC_WRAPPER CARGO_HOME="$build/home" CARGO_TARGET_DIR="$build/target" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld \
      /usr/bin/cargo build --release --offline -Zbuild-std=std,panic_abort,test --target "$WASM_TARGET") >"$build/log" 2>&1 \
      || { tail -n 20 "$build/log" >&2; return 1; }
    as_root mkdir -p "$lib" && as_root cp "$build/target/$WASM_TARGET/release/deps/"*.rlib "$lib/" || return 1
    as_root rm -f "$lib"/libempty-*.rlib
    rm -rf "$build/target" "$build/home"
  fi
  # That compiler looks for `rust-lld` beside itself.
  if [ ! -e /usr/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld ] && ! have rust-lld; then
    lld=$(ls "$HOME"/.rustup/toolchains/*/lib/rustlib/*/bin/rust-lld 2>/dev/null | head -n 1) || true
    [ -n "$lld" ] || lld=$(command -v lld) || { warn "no lld found"; return 1; }
    local triple; triple=$(/usr/bin/rustc -vV | awk '/^host/{print $2}')
    as_root mkdir -p "/usr/lib/rustlib/$triple/bin" && as_root ln -sf "$lld" "/usr/lib/rustlib/$triple/bin/rust-lld" || return 1
  fi
  if have rustup; then rustup toolchain link "$DEBIAN_TOOLCHAIN" /usr || return 1; fi
}

wasm() {
  head1 "Rust target $WASM_TARGET"
  have rustc || { need "Rust 1.90 or newer: https://rustup.rs"; return 0; }
  if [ -z "${FLEDGLING_WASM_FROM_DEBIAN:-}" ] && ! has_wasm_std && ! has_wasm_std "$DEBIAN_TOOLCHAIN" && have rustup; then
    # On some closed networks this hangs rather than fails.
    say "rustup target add $WASM_TARGET"
    within 20 rustup target add "$WASM_TARGET" >/dev/null 2>&1 || say "rustup could not fetch it"
  fi
  if [ -n "${FLEDGLING_WASM_FROM_DEBIAN:-}" ] || { ! has_wasm_std && ! has_wasm_std "$DEBIAN_TOOLCHAIN"; }; then
    if is_debian; then wasm_from_debian || warn "the standard library could not be built"; fi
  fi
  if has_wasm_std; then say "present in $(rustc --version)"
  elif has_wasm_std "$DEBIAN_TOOLCHAIN"; then say "present in $(RUSTUP_TOOLCHAIN=$DEBIAN_TOOLCHAIN rustc --version)"
  else need "the Rust target $WASM_TARGET: rustup target add $WASM_TARGET"; fi
}

# Threads in the browser need std built for a shared memory. Everything else does without, as scripts/wasm.sh will say: nothing is missing then.
std_sources() {
  [ -z "${FLEDGLING_NO_WASM_THREADS:-}" ] && [ -n "$(wasm_toolchain)" ] || return 0
  if ! has_std_sources && have rustup && [ "$(wasm_toolchain)" != "$DEBIAN_TOOLCHAIN" ]; then
    say "rustup component add rust-src"
    for_wasm within 120 rustup component add rust-src >/dev/null 2>&1 || say "rustup could not fetch it"
  fi
  if has_std_sources; then say "sources of std, for threads in the browser: present"
  else warn "no sources of std: no threads in the browser (rustup component add rust-src; Debian: rust-web-src)"; fi
}

# --- wasm-bindgen, wasm-opt -----------------------------------------------------------------------------------------
tools() {
  head1 "WebAssembly tools"
  have cargo || { need "Rust 1.90 or newer: https://rustup.rs"; return 0; }
  mkdir -p "$TOOLS"
  local version log=$TOOLS/cargo-install.log
  version=$(wasm_bindgen_version)
  # No --locked: a registry mirror may lag behind a lock file.
  if [ "$(wasm-bindgen --version 2>/dev/null | awk '{print $2}')" != "$version" ] || ! have wasm-bindgen-test-runner; then
    say "cargo install wasm-bindgen-cli $version (two or three minutes, once)"
    # It works for a second or two at a time: compiling it well would take longer than it ever saves.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --quiet --force --root "$TOOLS" wasm-bindgen-cli --version "$version" >"$log" 2>&1 \
      || { tail -n 10 "$log" >&2; need "wasm-bindgen-cli $version: cargo install wasm-bindgen-cli --version $version"; }
  fi
  if ! have wasm-opt; then
    have npm || { need "npm (comes with Node)"; return 0; }
    say "npm install binaryen (wasm-opt)"
    npm install --silent --no-fund --no-audit --prefix "$TOOLS" binaryen@132.0.0 >"$log" 2>&1 \
      || { tail -n 10 "$log" >&2; need "wasm-opt: npm install binaryen"; }
  fi
  local t
  for t in wasm-bindgen wasm-opt; do have $t && say "$($t --version 2>&1 | head -n 1)"; done
  return 0
}

# --- rustfmt, clippy ------------------------------------------------------------------------------------------------
rust_components() {
  head1 "rustfmt and clippy"
  local c
  for c in fmt clippy; do
    if ! cargo $c --version >/dev/null 2>&1 && have rustup; then
      within 120 rustup component add "$([ $c = fmt ] && echo rustfmt || echo clippy)" >/dev/null 2>&1 || true
    fi
    if cargo $c --version >/dev/null 2>&1; then say "$(cargo $c --version)"; else need "cargo $c: rustup component add rustfmt clippy"; fi
  done
}

# --- npm packages ---------------------------------------------------------------------------------------------------
npm_packages() {
  head1 "npm packages of www/"
  [ -f www/package.json ] || { say "no www/package.json"; return 0; }
  have npm || { need "npm (comes with Node)"; return 0; }
  local stamp=www/node_modules/.fledgling-stamp sum
  sum=$(cat www/package.json www/package-lock.json 2>/dev/null | cksum)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then say "up to date"; return 0; fi
  # What the lock file says; where a mirror lags behind it, what package.json allows.
  (cd www && { npm ci --no-fund --no-audit --loglevel=error || npm install --no-fund --no-audit --no-save --loglevel=error; }) \
    || { need "the npm packages of www/ (npm install failed)"; return 0; }
  cat www/package.json www/package-lock.json 2>/dev/null | cksum >"$stamp"
  say "installed"
}

case "${1:-all}" in
  build) system build; wasm; std_sources ;;
  check) system build; rust_components; wasm; npm_packages ;;
  all) system; rust_components; wasm; std_sources; tools; npm_packages ;;
  system) system ;;
  wasm) wasm; std_sources ;;
  tools) tools ;;
  npm) npm_packages ;;
  *) die "setup.sh: unknown part '$1' (all, check, build, system, wasm, tools, npm)" ;;
esac

if [ ${#missing[@]} -gt 0 ]; then
  printf '\n%sStill missing:%s\n' "$bold" "$plain" >&2
  printf '  - %s\n' "${missing[@]}" >&2
  exit 1
fi
say "ready"
