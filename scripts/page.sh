#!/usr/bin/env bash
# Builds what www/ holds, from the wasm in www/pkg.
#   scripts/page.sh package
#   scripts/page.sh page [over]    over: the old files stay beside the new ones, for whoever has the page open
# Does nothing when the inputs are what they were.
. "$(dirname "$0")/env.sh"

what=${1:-page}
# Only what the part is made of: not what its own build leaves behind (www/LICENSE-*, www/dist), nor tests and benchmarks.
common="www/package.json www/package-lock.json www/tsconfig.json www/pkg/fledgling.js www/pkg/fledgling_bg.wasm www/pkg/threads www/src/lib"
case $what in
  package)
    npm_script=build:lib; out=www/dist/lib
    from="$common www/tsconfig.lib.json www/scripts/build-lib.mjs www/scripts/prepack.mjs www/README.md LICENSE-MIT LICENSE-APACHE THIRD-PARTY.md"
    ;;
  page) npm_script=build:page; out=www/dist/page; from="$common www/vite.config.ts www/index.html www/public www/src THIRD-PARTY.md" ;;
  *) die "page.sh: unknown part '$what' (package, page)" ;;
esac
head1 "npm run $npm_script"
[ -f www/pkg/fledgling_bg.wasm ] && [ -f www/pkg/threads/fledgling.js ] || die "www/pkg is empty, or older than this checkout: run 'make wasm'"
# shellcheck disable=SC2086
stamp=$(find $from -type f | LC_ALL=C sort -u | xargs cksum | cksum)
if [ -d "$out" ] && [ "$(cat "www/dist/.stamp-$what" 2>/dev/null)" = "$stamp" ]; then
  say "up to date"
else
  rm -f "www/dist/.stamp-$what"
  if [ "${2:-}" = over ]; then
    (cd www && npm run --silent "$npm_script" -- --outDir dist/page-next)
    mkdir -p "$out" && cp -R www/dist/page-next/. "$out/" && rm -rf www/dist/page-next
  else
    (cd www && npm run --silent "$npm_script")
  fi
  [ -d "$out" ] || die "npm run $npm_script left no $out"
  [ "$what" != page ] || sed '/^## Crates in the command line alone/,$d' THIRD-PARTY.md >"$out/THIRD-PARTY.md"
  mkdir -p www/dist && echo "$stamp" >"www/dist/.stamp-$what"
fi
if [ "$what" = package ]; then
  if ! ls www/*.tgz >/dev/null 2>&1 || [ "www/dist/.stamp-$what" -nt "$(ls -t www/*.tgz | head -n 1)" ]; then
    rm -f www/*.tgz
    (cd www && npm pack --silent --ignore-scripts >/dev/null) # it is built
  fi
  say "$(ls www/*.tgz)"
fi
total=0
for f in $(find "$out" -type f \( -name '*.js' -o -name '*.css' -o -name '*.wasm' \) | LC_ALL=C sort); do
  size=$(gzip_size "$f"); total=$((total + size))
  say "$(printf '%-52s %8d gzipped' "$f" "$size")"
done
say "$(printf '%-52s %8d gzipped' "together" "$total")"
