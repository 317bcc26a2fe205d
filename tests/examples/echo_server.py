"""http_echo as a child process, for the tests that let others loose on it."""
import http.client
import json
import os
import signal
import subprocess
import time

LIMIT = 60


class Failure(Exception):
    """What a test says and ends by."""


class EchoServer:
    def __init__(self, program):
        self.process = subprocess.Popen([program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise Failure(f"http_echo said {line!r}: {self.process.stderr.read()}")
        self.address = line.split()[-1]
        self.url = f"http://{self.address}"
        self.port = int(self.address.rsplit(":", 1)[1])
        self.tasks_at_rest = self.stats()["tasks"]
        self.descriptors_at_rest = self.descriptors()

    def stats(self):
        """What the runtime does while it answers this one request."""
        connection = http.client.HTTPConnection(self.address, timeout=LIMIT)
        connection.request("GET", "/stats", headers={"Connection": "close"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))

    def left_behind(self):
        """Nothing, or what is there beyond what was there in the beginning."""
        tasks = self.stats()["tasks"] - self.tasks_at_rest
        descriptors = self.descriptors() - self.descriptors_at_rest
        # The connection that asked may still be closing, or not have been when the first one was counted.
        return f"{tasks} tasks, {descriptors} descriptors" if tasks > 1 or descriptors > 1 else ""

    def wait_until_at_rest(self):
        """Until nothing is left behind: the server has yet to be told of the last clients' end."""
        give_up = time.monotonic() + LIMIT
        while left := self.left_behind():
            if time.monotonic() > give_up:
                raise Failure(f"left in the server: {left}")
            time.sleep(0.05)

    def end(self):
        """SIGINT; its status, and what it said on stderr."""
        self.process.send_signal(signal.SIGINT)
        try:
            _, said = self.process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("SIGINT does not end http_echo") from None
        if self.process.returncode != 0 or said:
            raise Failure(f"http_echo ended with status {self.process.returncode}: {said[-2000:]}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def test_with_server(name, program, test):
    """Runs test(server) and ends the server; the exit status."""
    server = EchoServer(program)
    try:
        test(server)
        server.end()
    except Failure as e:
        print(f"{name}: {e}")
        return 1
    finally:
        server.kill()
    return 0
