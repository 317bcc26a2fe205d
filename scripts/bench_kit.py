"""What the kinds of scripts/bench have in common: how they fail and end, what they say on stderr, the file of figures, programs of Rust."""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

SCRIPT = os.getpid()
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GO_BUILD = ["go", "build", "-buildvcs=false", "-o"]  # git refuses to speak of a clone that somebody else owns, and the build would fail


class Failed(Exception):
    """What the user is told in a line."""


def tell(what):
    over = "\r\033[K" if sys.stderr.isatty() else ""  # a line of progress that stands there
    print(f"{over}bench: {what}", file=sys.stderr, flush=True)


def say_machine(about, rest):
    print(f"{about['cpu']}, {about['cpus']} CPUs, {about['system']}; {rest}")
    if about["load"] > 1:
        print(f"The machine is busy (load {about['load']:.1f}): the figures will be too high and uneven.")
    sys.stdout.flush()


def end_by_signals():
    """As by Ctrl-C: what is measured is kept, no server stays, nor anything in the temporary folder. SIGHUP comes when the terminal is closed, but
    not through nohup."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


def die_with_parent():
    """In the child: whatever becomes of this script, its servers do not outlive it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != SCRIPT:  # it has ended before that
            os._exit(1)


def cpu_seconds(pid):
    """User and system time of all threads."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


FEWEST = 5  # repetitions whose medians are figures


def add_repetitions(parser, what, quick):
    parser.add_argument("--repetitions", type=int, metavar="N", help=f"{what}, at least {FEWEST} (default {FEWEST}; {quick} with --quick, which allows 1)")


def check_repetitions(parser, a, quick):
    if a.repetitions is None:
        a.repetitions = quick if a.quick else FEWEST
    if a.repetitions < (1 if a.quick else FEWEST):
        parser.error("--repetitions must be at least 1" if a.quick else
                     f"--repetitions must be at least {FEWEST}: medians of fewer say little (--quick allows 1)")


def check_writable(*files):
    """To be known before anything is measured, not when it is to be kept. None: there is no such file."""
    for file in filter(None, files):
        there = os.path.exists(file)
        try:
            open(file, "a").close()
        except OSError as e:
            raise Failed(e) from e
        if not there:
            os.remove(file)


def record(about, figures):
    """What is known of a run: for a file, or a page, which others may see: of files on this machine only the names."""
    command = [os.path.relpath(os.path.abspath(sys.argv[0]), ROOT), *(re.sub(r"(^|=)/(?:[^/]*/)*", r"\1", word) for word in sys.argv[1:])]
    return {"machine": about, "command": command, **figures}


def write_figures(file, about, figures):
    """All that a run has measured, if that is anything. None: nobody asked for it."""
    if file and any(rows for rows in figures.values() if isinstance(rows, list)):
        try:
            with open(file, "w") as f:
                json.dump(record(about, figures), f, indent=1)
                f.write("\n")
        except OSError as e:
            raise Failed(e) from e


def build_rust(names, folder):
    """name: program, of bench/peers/rust; nothing where there is no Rust."""
    if not names:
        return {}
    if shutil.which("cargo") is None:
        tell(f"no Rust here (https://rustup.rs): without {', '.join(names)}")
        return {}
    target = os.path.abspath(os.path.join(folder, "rust"))
    command = ["cargo", "build", "--quiet", "--release", "--target-dir", target]
    for name in names:
        command += ["--bin", name]
    if subprocess.run(command, cwd=os.path.join(ROOT, "bench", "peers", "rust"), stdout=sys.stderr).returncode:
        raise Failed("the programs in Rust do not build")
    return {name: os.path.join(target, "release", name) for name in names}


class Progress:
    """Which of so many steps is at work, and how long the rest will take: a line that is written over, or where stderr is a file twenty of them."""

    def __init__(self, steps):
        self.steps, self.done, self.start = steps, 0, time.monotonic()

    def step(self, what):
        took = time.monotonic() - self.start
        left = f", {took / self.done * (self.steps - self.done):.0f} s left" if self.done else ""
        if sys.stderr.isatty():
            print(f"\r\033[K{self.done + 1}/{self.steps} {what}{left}", end="", file=sys.stderr, flush=True)
        elif self.done % max(1, self.steps // 20) == 0:
            tell(f"{self.done + 1}/{self.steps} {what}{left}")
        self.done += 1

    def clear(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
