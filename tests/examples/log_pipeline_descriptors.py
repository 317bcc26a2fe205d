#!/usr/bin/env python3
"""log_pipeline_descriptors.py LOG_GENERATE LOG_PIPELINE: what a run without descriptors leaves the next one may remove; a file does not take the place of
a closed standard error."""
import os
import resource
import subprocess
import sys
import tempfile

GENERATE, PIPELINE = sys.argv[1:3]
LIMIT = 300


def fail(message):
    print(f"log_pipeline_descriptors: {message}")
    sys.exit(1)


def closed(folder):
    log = os.path.join(folder, "log.json")
    command = [GENERATE, "--bytes", "1M", "--malformed", "100"]
    subprocess.run([*command, "--out", log], preexec_fn=lambda: os.close(2), timeout=LIMIT, check=True)
    with open(log, "rb") as f:
        if f.read() != subprocess.run(command, capture_output=True, timeout=LIMIT, check=True).stdout:
            fail("with standard error closed, a message went into the output")
    return log


def too_few(folder, log):
    out = os.path.join(folder, "out")
    for mode in ([], ["--by-line"]):
        failed = 0
        for most in range(8, 40):
            p = subprocess.run([PIPELINE, log, "--out", out, "--overwrite", "--level", "trace", *mode], capture_output=True, text=True, timeout=LIMIT,
                               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
            if p.returncode not in (0, 1) or "not in the list" in p.stderr:
                fail(f"{most} descriptors gave {p.returncode}: {p.stderr}")
            failed += p.returncode
        if failed in (0, 32):
            fail(f"{failed} of 32 runs had too few descriptors")


with tempfile.TemporaryDirectory() as top:
    too_few(top, closed(top))
print("log_pipeline_descriptors: passed")
