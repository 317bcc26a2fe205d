#!/usr/bin/env python3
"""messages.py ROOT COMPILER...: what the compiler says of mistakes that are easily made with weft's templates names the mistake."""

import os
import subprocess
import sys

from source_tree import report

root, compiler = sys.argv[1], sys.argv[2:]

# A mistake, and what its errors must say.
MISTAKES = {
    "void f(weft::chan<int> c) { weft::select(weft::on_recv(c, [](std::string) {})); }": "a receive's handler takes T, T&",
    "void f(weft::chan<int> c) { weft::select(weft::on_recv(c, [](int, int) {})); }": "a receive's handler takes T, T&",
    "void f(weft::join_handle<int>& h) { weft::select(weft::on_join(h, [](std::string) {})); }": "on_join's handler takes",
    "void f(weft::chan<int> c) { (void)weft::select(weft::on_recv(c, [](int) { return 1; }), weft::otherwise([] { return std::string(); })); }":
        "needs a common type",
    "weft::chan<void> c;": "the channel of pure signals is chan<weft::unit>",
    "void f(weft::receiver<void>);  void g() { f({}); }": "the channel of pure signals is chan<weft::unit>",
    "void f() { (void)weft::make_chan<int&>(); }": "the channel of pure signals is chan<weft::unit>",
    "void f(std::vector<int> v) { (void)weft::parallel_map(v, [](int) {}); }": "is_void_v",
}


def errors(text):
    """Of a program with this line; empty if it compiles."""
    program = f"#include <string>\n#include <vector>\n#include <weft/weft.hpp>\n{text}\n"
    command = compiler + ["-I", os.path.join(root, "include"), "-fsyntax-only", "-x", "c++", "-"]
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode != 0 else ""


report([f"{text}\n  says nothing of: {wanted}" for text, wanted in MISTAKES.items() if wanted not in errors(text)], "messages")
