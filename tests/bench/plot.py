"""scripts/bench plot: a file of figures becomes a table, what is none is refused with one line, and no page replaces its own figures.
That a file of figures cannot be written is known before anything is measured.

usage: plot.py BENCH
"""
import json
import os
import re
import subprocess
import sys
import tempfile


def fail(what):
    print(what, file=sys.stderr)
    sys.exit(1)


def bench(*args):
    return subprocess.run([sys.executable, "-B", sys.argv[1], *args], capture_output=True, text=True, timeout=60)


def plot(*args):
    return bench("plot", *args)


with tempfile.TemporaryDirectory() as folder:
    def file(name, content):
        path = os.path.join(folder, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    good = b'{"rows":[{"name":"a","workers":1,"sides":{"weft":{"ns":150,"min":120,"max":180,"cpu":150}}}]}'
    done = plot(file("good.json", good), "--markdown")
    if done.returncode != 0 or "| a | 1 | 150 (120..180) | 150 |" not in done.stdout:
        fail(f"a table was not made: {done.stdout}{done.stderr}")

    page = file("page.html", good)
    for says, args in (("not what bench/scaling", [file("cut.json", good[:-10]), "--markdown"]),
                       ("not what bench/scaling", [file("other.json", b"{}"), "--markdown"]),
                       ("not what bench/scaling", [file("bytes.csv", b"\x83\xff\0"), "--html", os.path.join(folder, "out.html")]),
                       ("No such file", [os.path.join(folder, "none.csv")]),
                       ("would replace", [page]),
                       ("would replace", [file("figures", good), "--html", os.path.join(folder, ".", "figures")])):
        refused = plot(*args)
        if refused.returncode != 1 or refused.stderr.count("\n") != 1 or says not in refused.stderr:
            fail(f"{args} gave {refused.returncode}: {refused.stdout}{refused.stderr}")
    with open(page, "rb") as f:
        if f.read() != good:
            fail("a page replaced its own figures")

    # A page is for others to see: it says which command it is of, and nothing of the folders here.
    shown = subprocess.run([sys.executable, "-B", "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); import bench_kit; print(bench_kit.record({}, {}))",
                            os.path.dirname(os.path.abspath(sys.argv[1])), "--json", os.path.join(folder, "out.json"), "--html=" + os.path.join(folder, "out.html"), "--only", "a/b"],
                           capture_output=True, text=True, timeout=60)
    if "'--json', 'out.json', '--html=out.html', '--only', 'a/b'" not in shown.stdout:
        fail(f"the command is kept as {shown.stdout}{shown.stderr}")

    figures = os.path.join(os.path.dirname(os.path.abspath(sys.argv[1])), "..", "docs", "figures")
    for name in os.listdir(figures):
        if name.endswith(".json"):
            with open(os.path.join(figures, name)) as f:
                if folders := [word for word in json.load(f)["command"] if re.search("(^|=)/", word)]:
                    fail(f"docs/figures/{name} names folders of a machine: {folders}")

    for says, args in (("programs: error: --repetitions must be at least 5", ["programs", "--repetitions", "4"]),
                       ("http: error: --repetitions must be at least 5", ["http", "--repetitions", "4"]),
                       ("programs: error: --repetitions must be at least 1", ["programs", "--quick", "--repetitions", "0"]),
                       ("programs: error: numbers", ["programs", "--requests", "0"]), ("http: error: numbers", ["http", "--duration", "0"]),
                       ("--workers: not a list", ["--workers", "1,x"]), ("/none/examples is not there", ["programs", "--build", os.path.join(folder, "none")])):
        refused = bench(*args)
        if refused.returncode not in (1, 2) or says not in refused.stderr or os.path.exists(os.path.join(folder, "none")):
            fail(f"{args} gave {refused.returncode}: {refused.stdout}{refused.stderr}")

    nowhere = os.path.join(folder, "none", "out")
    for args in (["--json", nowhere], ["--html", nowhere], ["http", "--json", nowhere]):
        refused = bench(*args, "--build", folder, "--peers", "")
        if refused.returncode != 1 or refused.stderr.count("\n") != 1 or "No such file" not in refused.stderr or nowhere not in refused.stderr:
            fail(f"{args} gave {refused.returncode}: {refused.stdout}{refused.stderr}")
