#!/usr/bin/env python3
"""nodiscard.py ROOT: what returns a result or an expected, and what lives for the length of a block, is [[nodiscard]]."""

import re
import sys

from source_tree import files, lines, report

root = sys.argv[1]
# Often nobody wants to know whether these went well: what ends a stream, and what goes on until one ends.
MAY_BE_DROPPED = {"shutdown_write", "copy", "copy_both", "serve"}
# What functions return.
TYPES = {"arrival_token", "chan_status", "join_handle", "ptr"}
# What stands for a block, and without a name for nothing. GCC 12 looks at the constructor alone where one is called.
MADE_FOR_A_BLOCK = {"defer", "leak_guard", "permit", "scoped_context", "uncancellable"}

RETURNS = re.compile(r"\s*(?P<marked>\[\[nodiscard\]\] )?(?:(?:static|friend|inline|constexpr|virtual) )*"
                     r"(?:(?:\w+::)*result<.*>|std::expected<.*>|std::pair<context, cancel_fn>) (?P<name>\w+)\(")
TYPE = re.compile(r"\s*(?:class|struct|enum class) \[\[nodiscard\]\] (?P<name>\w+)\b")
CONSTRUCTOR = re.compile(r"\s*\[\[nodiscard\]\] (?:explicit )?(?P<name>\w+)\(")

faults = []
marked = set()
constructors = set()
found = 0
for path in files(root, ["include"]):
    for number, line in enumerate(lines(root, path), 1):
        if match := TYPE.match(line):
            marked.add(match["name"])
        if match := CONSTRUCTOR.match(line):
            constructors.add(match["name"])
        if match := RETURNS.match(line):
            found += 1
            if not match["marked"] and match["name"] not in MAY_BE_DROPPED:
                faults.append(f"{path}:{number}: what {match['name']} returns may be dropped")

faults += [f"{name} is not [[nodiscard]]" for name in sorted(TYPES - marked)]
faults += [f"the constructor of {name} is not [[nodiscard]]" for name in sorted(MADE_FOR_A_BLOCK - constructors)]
if found < 40:
    faults.append(f"only {found} functions were found: this test does not know how they are written")
report(faults, "nodiscard")
