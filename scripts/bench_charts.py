"""Charts of what scripts/bench measured, and of bench/scaling's CSV: scripts/bench plot FILE [--html PAGE].

One HTML page with the charts in it as SVG, drawn by matplotlib (scripts/setup --bench); it loads nothing, so it works offline. FILE
is what scripts/bench --json wrote, or the CSV of bench/scaling.
"""
import argparse
import csv
import html
import io
import json
import os
import re
import sys

import bench_kit
import bench_sides

COLOURS = {"weft": "#1b6ca8", "go": "#00a29c", "tokio": "#b7410e", "boost_fiber": "#7b5ea7", "tbb": "#6b8e23"}
STYLE = """body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em } svg { max-width: 100%; height: auto }
table { border-collapse: collapse } td, th { padding: .1em .7em; text-align: right } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) { background: #f3f3f3 }"""


def library():
    """matplotlib: the system's, or the one that scripts/setup --bench put into build/charts."""
    sys.path.append(os.path.join(bench_kit.ROOT, "build", "charts"))
    try:
        import matplotlib
    except ImportError as e:
        raise bench_kit.Failed(f"charts need matplotlib ({e}): scripts/setup --bench") from e
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "weft", "axes.grid": True, "grid.alpha": 0.3,
                                "axes.spines.top": False, "axes.spines.right": False})
    import matplotlib.pyplot
    return matplotlib.pyplot


require_library = library


def svg(plt, figure):
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg"):]


def section(title, text, *pictures):
    return f"<h2>{html.escape(title)}</h2>\n<p>{html.escape(text)}</p>\n" + "\n".join(pictures)


def lines(plt, title, x_label, y_label, curves, log_x=True, log_y=True):
    """curves: {label: (colour or None, [(x, y, low, high)])}"""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for label, (colour, points) in curves.items():
        x, y, low, high = zip(*sorted(points))
        axes.plot(x, y, marker="o", label=label, color=colour)
        axes.fill_between(x, low, high, alpha=0.15, color=colour)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    if log_x:
        axes.set_xscale("log")
    else:
        axes.set_xticks(sorted({p[0] for _, points in curves.values() for p in points}))
    if log_y:
        axes.set_yscale("log")
    axes.legend()
    return svg(plt, figure)


def of_sides(rows, x_of, value):
    curves = {}
    for row in rows:
        for side, s in row["sides"].items():
            if s and (v := value(s)) is not None:
                curves.setdefault(bench_sides.TITLES[side], (COLOURS[side], []))[1].append((x_of(row), *v))
    return curves


def spread(s):
    return s["ns"], s["min"], s["max"]


def ratios(plt, rows, peer):
    rows = [r for r in rows if r["sides"].get(peer) and not re.search(r"_tasks_\d+$", r["name"])]
    if not rows:
        return ""
    figure, axes = plt.subplots(figsize=(7, 0.8 + 0.26 * len(rows)))
    values = [r["sides"]["weft"]["ns"] / r["sides"][peer]["ns"] for r in rows]
    axes.barh(range(len(rows)), [v - 1 for v in values], left=1, color=[COLOURS["weft"] if v < 1 else COLOURS["tokio"] for v in values])
    for i, v in enumerate(values):
        axes.text(v, i, f" {v:.2f} ", va="center", ha="right" if v < 1 else "left", fontsize=8)
    axes.set_yticks(range(len(rows)), [f"{r['name']} / {r['workers']}" for r in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set(title=f"weft's time over {bench_sides.TITLES[peer]}'s (row / workers): left of 1, weft takes less", xlim=(min(values) / 2.5, max(*values, 1) * 2.5))
    return svg(plt, figure)


def table(rows):
    out = ["<table><tr><th>row</th><th>workers</th><th></th><th>ns an operation</th><th>smallest</th><th>largest</th><th>CPU ns</th><th>other</th></tr>"]
    for r in rows:
        for side, s in r["sides"].items():
            if s:
                extra = {**({"bytes": s["bytes"]} if "bytes" in s else {}), **s["extra"]}
                other = ", ".join(f"{k} {v:.4g}" for k, v in extra.items())
                cells = [r["name"], r["workers"], bench_sides.TITLES[side], *(f"{s[k]:,.1f}" for k in ("ns", "min", "max", "cpu")), other]
                out.append("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in cells) + "</tr>")
    return "\n".join([*out, "</table>"])


def page_of_rows(plt, result):
    rows, about, parts = result["rows"], result["machine"], []
    pictures = [p for peer in bench_sides.PEERS if (p := ratios(plt, rows, peer))]
    if pictures:
        parts.append(section("Beside each peer", "Medians of the same run, one process a figure, by turns.", *pictures))
    grown, memory = [], []
    sized = [(m[1], int(m[2]), r) for r in rows if (m := re.match(r"(\w+)_tasks_(\d+)$", r["name"]))]
    for kind in sorted({k for k, _, _ in sized}):
        for workers in sorted({r["workers"] for k, _, r in sized if k == kind}):
            here = [{**r, "size": n} for k, n, r in sized if k == kind and r["workers"] == workers]
            if len(here) < 2:
                continue
            title = f"{kind}, {workers} worker{'s' if workers > 1 else ''}"
            grown.append(lines(plt, title, "tasks", "ns an operation", of_sides(here, lambda r: r["size"], spread)))
            of_bytes = of_sides(here, lambda r: r["size"], lambda s: (s["bytes"],) * 3 if s.get("bytes", 0) > 0 else None)
            if of_bytes:
                memory.append(lines(plt, title, "tasks", "bytes a task", of_bytes))
    if grown:
        parts.append(section("Against the number of tasks", "Bands: smallest to largest of the repetitions. A flat line is the aim.", *grown))
    if memory:
        parts.append(section("Memory a task", "Resident bytes of a parked task, its stack and channel included.", *memory))
    by_workers = []
    for name in dict.fromkeys(r["name"] for r in rows if not re.search(r"_tasks_\d+$", r["name"])):
        here = [r for r in rows if r["name"] == name]
        if len({r["workers"] for r in here}) > 1:
            by_workers.append(lines(plt, name, "workers", "ns an operation", of_sides(here, lambda r: r["workers"], spread), log_x=False, log_y=False))
    if by_workers:
        parts.append(section("Against the number of workers", "Wall time an operation.", *by_workers))
    parts.append(section("All figures", "Wall and CPU time, the latter of the whole process.", table(rows)))
    said = [about["cpu"], f"{about['cpus']} CPUs", about["system"], *about["versions"].values(), about["time"], f"load {about['load']:.1f}",
            f"{about['repetitions']} repetitions"]
    if about["background"]:
        said.append(f"{about['background']} tasks parked and as many timers pending beside each row")
    return "weft beside its peers", ", ".join(said) + ". Command: " + " ".join(result["command"]), parts


def markdown(result):
    """The rows that have times, as docs/performance.md shows them: nanoseconds where no unit stands."""
    def short(ns):
        return f"{ns / 1e6:.3g}ms" if ns >= 1e6 else f"{ns:.0f}" if ns >= 100 else f"{ns:.1f}"

    sides = [s for s in bench_sides.TITLES if s != "weft" and any(r["sides"].get(s) for r in result["rows"])]
    lines_ = ["| row | workers | weft | CPU | weft / " + " | ".join(bench_sides.TITLES[s] for s in sides) + " |", "|---" * (4 + len(sides)) + "|"]
    for r in result["rows"]:
        w = r["sides"]["weft"]
        ratios_ = [f"{w['ns'] / s['ns']:.2f}" if (s := r["sides"].get(side)) else "" for side in sides]
        lines_.append(f"| {r['name']} | {r['workers']} | {short(w['ns'])} ({short(w['min'])}..{short(w['max'])}) | {short(w['cpu'])} | "
                      + " | ".join(ratios_) + " |")
    return "\n".join(lines_)


def page_of_csv(plt, text):
    rows = list(csv.DictReader(io.StringIO(text)))
    axes_of = ["tasks", "work_ns", "capacity", "workers"]
    if not rows or not {*axes_of, "work", "ns_per_message", "cpu_ns_per_message", "bytes_per_task"} <= rows[0].keys():
        raise bench_kit.Failed("this is no CSV of bench/scaling")
    parts = []
    for axis in axes_of:
        if len({r[axis] for r in rows}) < 2:
            continue
        log = axis == "tasks" or (axis == "work_ns" and all(float(r[axis]) > 0 for r in rows))
        pictures = []
        for column, label in (("ns_per_message", "ns a message"), ("cpu_ns_per_message", "CPU ns a message"), ("bytes_per_task", "bytes a task")):
            curves = {}
            for r in rows:
                others = ", ".join(f"{a} {r[a]}" for a in [*axes_of, "work"] if a != axis and len({x[a] for x in rows}) > 1)
                x, y = float(r[axis]), float(r[column])
                curves.setdefault(others or "weft", (None, []))[1].append((x, y, y, y))
            pictures.append(lines(plt, f"{label} against {axis}", axis, label, curves, log_x=log, log_y=False))
        parts.append(section(f"Against {axis}", "One line for each choice of the rest.", *pictures))
    if not parts:
        raise bench_kit.Failed("nothing varies in this file: give bench/scaling a range")
    return "weft: a scaling experiment", f"{len(rows)} measurements.", parts


def save(page, file):
    title, said, parts = page
    with open(file, "w") as f:
        f.write(f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n"
                f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(said)}</p>\n" + "\n".join(parts) + "\n</html>\n")
    print(f"bench: charts are in {file}", file=sys.stderr)


def write_page(result, file):
    save(page_of_rows(library(), result), file)


def main(argv):
    p = argparse.ArgumentParser(prog="scripts/bench plot", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", metavar="FILE", help="of bench/scaling (CSV) or scripts/bench --json")
    p.add_argument("--html", metavar="PAGE", help="where the page goes (default: FILE with .html)")
    p.add_argument("--markdown", action="store_true", help="no page: the times of scripts/bench --json as a table, on the standard output")
    a = p.parse_args(argv)
    out = a.html or os.path.splitext(a.file)[0] + ".html"
    try:
        with open(a.file) as f:
            text = f.read()
        is_json = text.lstrip().startswith("{")
        if a.markdown and not is_json:
            raise bench_kit.Failed("--markdown is for what scripts/bench --json wrote")
        if not a.markdown and os.path.realpath(out) == os.path.realpath(a.file):
            raise bench_kit.Failed(f"the page would replace {a.file}: see --html")
        result = json.loads(text) if is_json else None
        if a.markdown:
            return print(markdown(result))
        plt = library()
        page = page_of_rows(plt, result) if is_json else page_of_csv(plt, text)
        save(page, out)
    except OSError as e:
        raise bench_kit.Failed(e) from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:  # cut short, or of another program
        raise bench_kit.Failed(f"{a.file} is not what bench/scaling or scripts/bench --json wrote: {type(e).__name__}: {e}") from e
