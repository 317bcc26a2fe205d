#!/usr/bin/env bash
# expect.sh REGEX PROGRAM [ARG ...]: the program ends with status 0, and its output matches the extended regular
# expression (an empty one: anything).
set -euo pipefail
regex=$1
shift
status=0
output=$("$@" 2>&1) || status=$?
printf '%s\n' "$output"
if ((status != 0)); then
  echo "expect: $1 ended with status $status"
  exit 1
fi
if [[ -n $regex && ! $output =~ $regex ]]; then
  echo "expect: the output does not match: $regex"
  exit 1
fi
