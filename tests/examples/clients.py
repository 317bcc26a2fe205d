#!/usr/bin/env python3
"""clients.py HTTP_ECHO [--connections N,N,...]: clients that others wrote, against http_echo: wrk, h2load --h1, ab, curl, and the standard
clients of Python and Go. Each must end without an error, and nothing may be left in the server. Those that are not installed are
named and left out."""
import concurrent.futures
import http.client
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from echo_server import LIMIT, Failure, test_with_server  # noqa: E402

PROGRAM = sys.argv[1]
CONNECTIONS = [64, 1000]
if len(sys.argv) == 4 and sys.argv[2] == "--connections":
    CONNECTIONS = [int(n) for n in sys.argv[3].split(",")]

GO_CLIENT = """package main

import ("bytes"; "fmt"; "io"; "net/http"; "os"; "strconv"; "sync")

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n, MaxConnsPerHost: n}}
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for k := 0; k < 10; k++ {
				sent := []byte(fmt.Sprintf("task %d, request %d", i, k))
				answer, err := client.Post(os.Args[1]+"/echo", "text/plain", bytes.NewReader(sent))
				if err != nil { fmt.Println(err); os.Exit(1) }
				got, err := io.ReadAll(answer.Body)
				answer.Body.Close()
				if err != nil || !bytes.Equal(got, sent) { fmt.Println("not what was sent:", string(got), err); os.Exit(1) }
			}
		}()
	}
	all.Wait()
}
"""


def run(*command):
    p = subprocess.run(command, capture_output=True, text=True, timeout=10 * LIMIT)
    if p.returncode != 0:
        raise Failure(f"{command[0]} ended with status {p.returncode}: {(p.stdout + p.stderr)[-2000:]}")
    return p.stdout + p.stderr


def expect(output, pattern, command):
    if not re.search(pattern, output):
        raise Failure(f"{command}: no {pattern!r} in: {output[-2000:]}")


def wrk(server, n):
    out = run("wrk", "-t1", f"-c{n}", "-d1s", "--timeout", f"{LIMIT}s", f"{server.url}/hello")
    if "Socket errors" in out or "Non-2xx" in out:
        raise Failure(f"wrk: {out}")
    expect(out, r"[1-9]\d* requests in", "wrk")


def h2load(server, n):
    out = run("h2load", "--h1", f"-c{n}", f"-n{n * 20}", "-t1", f"{server.url}/hello")
    expect(out, rf"requests: {n * 20} total, {n * 20} started, {n * 20} done, {n * 20} succeeded, 0 failed, 0 errored, 0 timeout", "h2load")


def ab(server, n):
    for kept in (["-k"], []):  # without: a connection a request, HTTP/1.0
        out = run("ab", "-q", f"-s{LIMIT}", *kept, f"-c{n}", f"-n{n * 10}", f"{server.url}/hello/ab")
        expect(out, rf"Complete requests: +{n * 10}\n", "ab")
        expect(out, r"Failed requests: +0\n", "ab")


def curl(server, n):
    sent = os.urandom(300_000)
    with tempfile.NamedTemporaryFile() as f:
        f.write(sent)
        f.flush()
        for how in (["--data-binary", f"@{f.name}"], ["-H", "Transfer-Encoding: chunked", "--data-binary", f"@{f.name}"],
                    ["-T", f.name, "-X", "POST", "-H", "Expect: 100-continue"]):
            p = subprocess.run(["curl", "-sS", "--fail", *how, f"{server.url}/echo"], capture_output=True, timeout=LIMIT)
            if p.returncode != 0 or p.stdout != sent:
                raise Failure(f"curl {how} gave status {p.returncode}, {len(p.stdout)} bytes: {p.stderr[-500:]}")
    # 300 are what curl does at once at most.
    out = run("curl", "-sS", "--http1.1", "--parallel", "--parallel-max", str(min(n, 300)), f"{server.url}/hello/[1-{n}]")
    if out.count('{"message":"hello ') != n:
        raise Failure(f"curl --parallel had {out.count('message')} answers")


def python(server, n):
    """http.client on as many connections, which are all open from the first request to the last."""
    connections = [http.client.HTTPConnection(server.address, timeout=LIMIT) for _ in range(n)]

    def talk(i):
        for k in range(2):
            sent = f"connection {i}, request {k} ".encode() * 50
            connections[i].request("POST", "/echo", body=iter([sent]) if k % 2 else sent, encode_chunked=bool(k % 2),
                                   headers={"Transfer-Encoding": "chunked"} if k % 2 else {})
            if connections[i].getresponse().read() != sent:
                raise Failure("http.client: not what was sent")

    with concurrent.futures.ThreadPoolExecutor(64) as threads:
        list(threads.map(http.client.HTTPConnection.connect, connections))
        list(threads.map(talk, range(n)))
        if (there := server.descriptors() - server.descriptors_at_rest) < n - 1:  # of which one may have asked for the stats
            raise Failure(f"http.client: {there} of {n} connections are open")
        list(threads.map(talk, range(n)))
    for connection in connections:
        connection.close()


def go(server, n):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "main.go"), "w", encoding="ascii") as f:
            f.write(GO_CLIENT)
        run("go", "run", f.name, server.url, str(n))


def test(server):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # those that are started have as many
    for client in (wrk, h2load, ab, curl, python, go):
        if client is not python and shutil.which(client.__name__) is None:
            print(f"clients: {client.__name__} is not installed: left out")
            continue
        for n in CONNECTIONS:
            began = time.monotonic()
            client(server, n)
            print(f"clients: {client.__name__}, {n} connections: no error in {time.monotonic() - began:.1f} s", flush=True)
    server.wait_until_at_rest()


sys.exit(test_with_server("clients", PROGRAM, test))
