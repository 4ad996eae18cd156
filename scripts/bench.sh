#!/usr/bin/env bash
# Speed, dispatch counts, memory and sizes: natively, then in headless Chromium (SwiftShader), each on the adapter and on the processor.
# A table for each, natively with what every kernel takes, and as a picture in target/bench/native-*.html; the last line is one JSON object
# {"native": {"gpu": …, "cpu": …}, "browser": {"gpu": …, "cpu": …}}.
#   scripts/bench.sh [native|browser] [gpu|cpu]
. "$(dirname "$0")/env.sh"

places="native browser" devices="gpu cpu"
for arg in "$@"; do
  case $arg in
    native | browser) places=$arg ;;
    gpu | cpu) devices=$arg ;;
    *) die "unknown argument '$arg' (native or browser, gpu or cpu)" ;;
  esac
done
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}
head1 "Machine"
say "$(uname -sm), $(cores) cores,$(uptime | sed 's/.*load average/ load average/')"
head1 "Model"
model=$(scripts/fetch-model.sh | tee >(cat >&2) | tail -n 1)
mkdir -p target/bench
rm -f target/bench/*.out

# A machine without any adapter has figures of its processor: what failed is left out, and said at the end.
missing=()
for place in $places; do
  if [ "$place" = native ]; then
    cargo build --quiet --release
  else
    scripts/setup.sh npm >/dev/null
    scripts/wasm.sh
    scripts/page.sh package
  fi
  for device in $devices; do
    out=target/bench/$place-$device.out
    if [ "$place" = native ]; then
      head1 "Native, $device"
      target/release/fledgling bench --model "$model" --device "$device" --profile --html "target/bench/native-$device.html" | tee "$out"
    else
      head1 "Chromium, $device"
      (cd www && FLEDGLING_DEVICE=$device FLEDGLING_MODEL=$model npm run --silent bench) | tee "$out"
    fi || { rm -f "$out"; missing+=("$place $device"); }
  done
done

head1 "All of it"
[ ${#missing[@]} = 0 ] || warn "not measured: ${missing[*]}"
node -e '
  const { readFileSync, existsSync } = require("node:fs");
  const all = {};
  for (const place of ["native", "browser"])
    for (const device of ["gpu", "cpu"]) {
      const file = `target/bench/${place}-${device}.out`;
      if (existsSync(file)) (all[place] ??= {})[device] = JSON.parse(readFileSync(file, "utf8").trim().split("\n").pop());
    }
  console.log(JSON.stringify(all));
  process.exit(Object.keys(all).length === 0 ? 1 : 0);
'
