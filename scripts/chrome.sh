#!/usr/bin/env bash
# Prints the path of the Chrome or Chromium that the tests use ($CHROME where it is set), or fails.
. "$(dirname "$0")/env.sh"
find_chrome || die "no Chrome or Chromium found${CHROME:+ (CHROME=$CHROME is not a program)}: install one, or set CHROME=/path/to/it"
