#!/usr/bin/env bash
# Builds what www/ holds, from the wasm in www/pkg:  scripts/page.sh package | page
# Does nothing when the inputs are what they were.
. "$(dirname "$0")/env.sh"

what=${1:-page}
case $what in
  package) npm_script=build:lib; out=www/dist/lib ;;
  page) npm_script=build:page; out=www/dist/page ;;
  *) die "page.sh: unknown part '$what' (package, page)" ;;
esac
head1 "npm run $npm_script"
[ -f www/pkg/fledgling_bg.wasm ] || die "www/pkg is empty: run 'make wasm'"
inputs=$(find www -type f -not -path 'www/node_modules/*' -not -path 'www/dist/*' -not -path 'www/tests/*' -not -path 'www/test-results/*' -not -name '*.tgz' -not -name '*.log' | LC_ALL=C sort)
# shellcheck disable=SC2086
stamp=$(cksum $inputs | cksum)
if [ -d "$out" ] && [ "$(cat "www/dist/.stamp-$what" 2>/dev/null)" = "$stamp" ]; then
  say "up to date"
else
  rm -f "www/dist/.stamp-$what"
  (cd www && npm run --silent "$npm_script")
  [ -d "$out" ] || die "npm run $npm_script left no $out"
  mkdir -p www/dist && echo "$stamp" >"www/dist/.stamp-$what"
fi
if [ "$what" = package ]; then
  (cd www && npm pack --silent >/dev/null 2>&1) && say "$(ls www/*.tgz)"
fi
total=0
for f in $(find "$out" -type f \( -name '*.js' -o -name '*.css' -o -name '*.wasm' \) | LC_ALL=C sort); do
  size=$(gzip_size "$f"); total=$((total + size))
  say "$(printf '%-52s %8d gzipped' "$f" "$size")"
done
say "$(printf '%-52s %8d gzipped' "together" "$total")"
