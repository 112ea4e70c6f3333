"""Giving memory up, in the manager alone (bench_mm)."""
import os
import re

from benchmarks.common import markdown, run

LINE = re.compile(r"^given up (.*?): .* ([\d.]+) us a page; .* in (\d+) runs$", re.M)


def measure(bench):
    output = run([f"{bench.build}/tests/unit/bench_mm"], env={**os.environ, "BENCH_SWAP": "memory"})
    return [
        {"way": way, "ns_a_page": round(float(us) * 1000), "runs": int(runs)}
        for way, us, runs in LINE.findall(output)
    ]


def table(rows):
    head = ["given up", "a page", "calls of the backing"]
    return markdown(head, ((row["way"], f"{row['ns_a_page']} ns", row["runs"]) for row in rows))
