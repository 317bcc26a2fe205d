#!/usr/bin/env bash
# http_pair.sh HTTP_ECHO HTTP_LOAD: the server under a short load, its end by SIGINT, and its two ways to fail.
set -euo pipefail
echo_server=$1 load=$2
log=$(mktemp)
server=
finish() {
  [[ -z $server ]] || kill -KILL "$server" 2>/dev/null || true
  rm -f "$log"
}
trap finish EXIT
fail() {
  echo "http_pair: $*"
  cat "$log"
  exit 1
}

# Job control gives the server the default SIGINT; a plain background process would be started with it ignored.
set -m
"$echo_server" --listen 127.0.0.1:0 >"$log" 2>&1 </dev/null &
server=$!
set +m
address=
for ((i = 0; i < 600; i++)); do
  address=$(sed -n 's/^.*listening on \(127\.0\.0\.1:[0-9]*\).*$/\1/p' "$log" | head -n 1)
  [[ -z $address ]] || break
  kill -0 "$server" 2>/dev/null || fail "the server did not start"
  sleep 0.05
done
[[ -n $address ]] || fail "the server did not say where it listens"

# One request by hand, through bash's own sockets: the body is part of the promise.
exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
printf 'GET /hello HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n' >&3
answer=$(tr -d '\r' <&3)
exec 3>&-
[[ $answer == "HTTP/1.1 200"* && $answer == *'{"message":"hello world"}' ]] || fail "GET /hello gave: $answer"

output=$("$load" --url "http://$address/hello" --connections 50 --duration 1s --server-pid "$server" 2>&1) ||
  fail "http_load ended with status $?: $output"
printf '%s\n' "$output"

status=0
"$echo_server" --listen "$address" >/dev/null 2>&1 </dev/null || status=$?
((status == 1)) || fail "a port in use gave status $status, not 1"
status=0
"$echo_server" --no-such-option >/dev/null 2>&1 </dev/null || status=$?
((status == 2)) || fail "a bad argument gave status $status, not 2"
"$echo_server" --help >/dev/null || fail "--help did not give status 0"

kill -INT "$server"
status=0
wait "$server" || status=$?
server=
((status == 0)) || fail "SIGINT gave status $status, not 0"
echo "http_pair: passed"
