#!/usr/bin/env python3
"""gateway_demo.py BUILD: scripts/gateway_demo shows what docs/programs.md says of fastjson_api, its load meets no error, and it ends by
itself."""
import os
import re
import subprocess
import sys

BUILD = sys.argv[1]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHOWN = [("POST /items/1", "201"), ("GET /items/1", "200"), ("POST /items/2", "422"), ("DELETE /items/1", "204"), ("GET /items/1", "404")]


def fail(message):
    print(f"gateway_demo: {message}\n{done.stdout}{done.stderr}")
    sys.exit(1)


done = subprocess.run([os.path.join(ROOT, "scripts", "gateway_demo"), "--build", BUILD, "--duration", "1s"],
                      capture_output=True, text=True, timeout=100)
if done.returncode != 0:
    fail(f"it ended with status {done.returncode}")
answers = re.findall(r"^((?:GET|POST|DELETE) /items/\d+).*\n +HTTP/1\.1 (\d+) ", done.stdout, re.M)
if answers != SHOWN:
    fail(f"it showed {answers}")
if len(re.findall(r'"event":"request".*"status":', done.stdout)) != len(SHOWN):
    fail("it did not show its log")
rows = dict(re.findall(r"^ +(requests|errors) +(\d+)$", done.stdout, re.M))
if int(rows.get("requests", 0)) < 1000 or rows.get("errors") != "0":
    fail(f"its load got {rows}")
wrong = subprocess.run([os.path.join(ROOT, "scripts", "gateway_demo"), "--sing"], capture_output=True, text=True)
if wrong.returncode != 2 or "usage" not in wrong.stderr:
    fail(f"a wrong argument gave status {wrong.returncode}: {wrong.stderr}")
