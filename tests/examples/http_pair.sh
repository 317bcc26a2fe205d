#!/usr/bin/env bash
# http_pair.sh HTTP_ECHO HTTP_LOAD: the server under a short load, its ways to fail, and the end of both by SIGINT, under load and
# without.
set -euo pipefail
echo_server=$1 load=$2
log=$(mktemp)
load_log=$(mktemp)
server= loader=
finish() {
  [[ -z $server ]] || kill -KILL "$server" 2>/dev/null || true
  [[ -z $loader ]] || kill -KILL "$loader" 2>/dev/null || true
  rm -f "$log" "$load_log"
}
trap finish EXIT
fail() {
  echo "http_pair: $*"
  cat "$log" "$load_log"
  exit 1
}

# start VARIABLE LOG COMMAND ...: job control gives it the default SIGINT, with which a plain background process starts ignored.
start() {
  : >"$2" # here and not in the child, which may be late: the old lines must be gone
  set -m
  "${@:3}" >>"$2" 2>&1 </dev/null &
  printf -v "$1" %s $!
  set +m
}
# said PID LOG PATTERN: waits for a line in a log, while its program runs.
said() {
  for ((i = 0; i < 1200; i++)); do
    ! grep -q "$3" "$2" || return 0
    kill -0 "$1" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}
serve() { # [ARGUMENT ...]
  start server "$log" "$echo_server" --listen 127.0.0.1:0 "$@"
  said "$server" "$log" '^listening on' || fail "the server did not say where it listens"
  address=$(sed -n 's/^listening on \(127\.0\.0\.1:[0-9]*\)$/\1/p' "$log")
}
interrupt() { # WHEN [SIGNAL]: ends the server, within its grace of five seconds
  local status=0 began=$SECONDS signal=${2:-INT}
  kill "-$signal" "$server"
  wait "$server" || status=$?
  server=
  ((status == 0)) || fail "SIG$signal $1 gave status $status, not 0"
  ((SECONDS - began <= 6)) || fail "SIG$signal $1 took $((SECONDS - began)) s"
}

serve
# ask METHOD TARGET [BODY]: a request by hand, through bash's own sockets: the body is part of the promise.
ask() {
  local body=${3:-}
  exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
  printf '%s %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' "$1" "$2" "${#body}" "$body" >&3
  tr -d '\r' <&3
  exec 3>&-
}
answer=$(ask GET /hello)
[[ $answer == "HTTP/1.1 200"* && $answer == *'{"message":"hello world"}' ]] || fail "GET /hello gave: $answer"
answer=$(ask GET /hello/J%C3%B6rg)
[[ $answer == "HTTP/1.1 200"* && $answer == *'{"message":"hello Jörg"}' ]] || fail "GET /hello/J%C3%B6rg gave: $answer"
answer=$(ask POST /echo 'as it came')
[[ $answer == "HTTP/1.1 200"* && $answer == *'as it came' ]] || fail "POST /echo gave: $answer"

output=$("$load" --url "http://$address/hello" --connections 50 --duration 1s --server-pid "$server" 2>&1) ||
  fail "http_load ended with status $?: $output"
printf '%s\n' "$output"

for bad in -1s 0s 5x ''; do # not so long
  status=0
  said=$("$load" --url "http://$address/hello" "--duration=$bad" 2>&1 </dev/null) || status=$?
  [[ $status == 2 && $said == "http_load: "* ]] || fail "http_load --duration=$bad gave status $status: $said"
done

# fails STATUS ARGUMENT ...: one line on stderr and that status.
fails() {
  local status=0 said
  said=$("$echo_server" "${@:2}" 2>&1 >/dev/null </dev/null) || status=$?
  ((status == $1)) || fail "${*:2} gave status $status, not $1"
  [[ $said == "http_echo: "* && $said != *$'\n'* ]] || fail "${*:2} said: $said"
}
fails 1 --listen "$address"  # in use
fails 1 --listen 192.0.2.1:0 # not this machine's
for bad in '' nonsense 127.0.0.1 127.0.0.1:x 127.0.0.1:-1 127.0.0.1:65536 '127.0.0.1:0 ' '[::1' '[::1]' 1.2.3:80; do fails 2 --listen "$bad"; done
fails 2 --listen
fails 2 --no-such-option
fails 2 --workers many
"$echo_server" --help >/dev/null || fail "--help did not give status 0"
interrupt "without load"

# The end under load, some times: each response that has begun comes whole.
for round in 1 2 3; do
  serve
  start loader "$load_log" "$load" --url "http://$address/hello" --connections 200 --duration 60s
  said "$loader" "$load_log" '^ *[1-9][0-9]* s: [1-9]' || fail "the load did not begin"
  interrupt "under load"
  wait "$loader" || true  # its status tells of the connections that nobody accepts any more
  loader=
  grep -q '^  requests  *[1-9]' "$load_log" || fail "no request was answered"
  ! grep -q 'cut in the middle\|not an HTTP response\|more bytes\|status [0-9]' "$load_log" || fail "a response was cut in round $round"
done

# Ctrl-C ends the load early, and its table still comes.
serve
start loader "$load_log" "$load" --url "http://$address/hello" --connections 20 --duration 60s
said "$loader" "$load_log" '^ *[1-9][0-9]* s: [1-9]' || fail "the load did not begin"
kill -INT "$loader"
status=0
wait "$loader" || status=$?
loader=
((status == 0)) || fail "SIGINT gave http_load status $status, not 0"
grep -q '^  errors  *0$' "$load_log" || fail "http_load's interrupted run had errors"
interrupt "after the load"

serve --workers 3
answer=$(ask GET /stats)
[[ $answer == *'"workers":3,'* ]] || fail "with --workers 3, GET /stats gave: $answer"
interrupt "without load" TERM
echo "http_pair: passed"
