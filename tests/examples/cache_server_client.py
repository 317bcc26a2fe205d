"""The server under test, and a client that speaks RESP itself; for cache_server.py, whose command line this reads."""
import select
import signal
import socket
import subprocess
import sys
import time

LIMIT = 120
SHORT = "--short" in sys.argv[2:]
SERVER = sys.argv[1]


def fail(message):
    print(f"cache_server: {message}")
    sys.exit(1)


class Server:
    def __init__(self, *args, status=0):
        self.expected = status
        self.process = subprocess.Popen([SERVER, "--listen", "127.0.0.1:0", *args], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.said = []
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.startswith("listening on "):
                self.port = int(line.rsplit(":", 1)[1])
                return
        fail(f"it did not start: {self.said} {self.process.stderr.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.ended(self.expected)

    def ended(self, status=0):
        try:
            _, err = self.process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            fail("it did not end")
        if self.process.returncode != status:
            fail(f"it ended with {self.process.returncode}, not {status}: {err}")
        return err

    def kill(self):
        self.process.kill()
        self.process.communicate()


class Client:
    """Speaks RESP itself: raw answers, to be compared byte by byte."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        self.data = b""

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def call(self, *args):
        self.send(encoded(*args))
        return self.answer()

    def line(self):
        while b"\r\n" not in self.data:
            self.more()
        line, self.data = self.data.split(b"\r\n", 1)
        return line + b"\r\n"

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise EOFError
        self.data += got

    def answer(self):
        line = self.line()
        if line[:1] in b"$=" and line != b"$-1\r\n":
            n = int(line[1:]) + 2
            while len(self.data) < n:
                self.more()
            text, self.data = self.data[:n], self.data[n:]
            return line + text
        if line[:1] in b"*~%" and line != b"*-1\r\n":
            return line + b"".join(self.answer() for _ in range(int(line[1:]) * (2 if line[:1] == b"%" else 1)))
        return line

    def rest(self):
        parts = [self.data]
        try:
            while got := self.socket.recv(1 << 20):
                parts.append(got)
        except ConnectionResetError:
            pass
        return b"".join(parts)


def encoded(*args):
    out = [b"*%d\r\n" % len(args)]
    for a in args:
        a = a if isinstance(a, bytes) else str(a).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(a), a))
    return b"".join(out)


def until(what, condition):
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            fail(f"{what} does not come")
        time.sleep(0.001)


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT).close()
        return False
    except OSError:
        return True


def select_ready(c):
    return bool(select.select([c.socket], [], [], 0)[0])


def refused(status, *args, says):
    p = subprocess.run([SERVER, *args], capture_output=True, text=True, timeout=LIMIT)
    if p.returncode != status or not p.stderr.startswith("cache_server: ") or p.stderr.count("\n") != 1 or says not in p.stderr:
        fail(f"{args} gave {p.returncode}: {p.stderr}")
