"""The pool against malloc, without a guest (bench_pool)."""
import re

from benchmarks.common import markdown, run


def measure(bench):
    rows = []
    for line in run([f"{bench.build}/tests/unit/bench_pool"]).splitlines():
        if found := re.match(r"(\S.*): \d+ objects of (\d+) bytes", line):
            rows.append({"content": found[1], "object_bytes": int(found[2]), "density": {}})
        elif found := re.match(r"  (.*?) +pool +([\d.]+)%  malloc +([\d.]+)%", line):
            rows[-1]["density"][found[1]] = {"pool": float(found[2]), "malloc": float(found[3])}
        elif found := re.match(r"  store: pool (\d+) ns, malloc (\d+) ns", line):
            rows[-1]["store_ns"] = {"pool": int(found[1]), "malloc": int(found[2])}
    return rows


def cells(row):
    first = [row["content"], f"{row['object_bytes']} bytes"]
    for when, density in row["density"].items():
        yield *first, when, f"{density['pool']} %", f"{density['malloc']} %"
        first = ["", ""]
    store = row["store_ns"]
    yield *first, "to store one", f"{store['pool']} ns", f"{store['malloc']} ns"


def table(rows):
    head = ["content", "an object", "", "pool", "malloc"]
    return markdown(head, (one for row in rows for one in cells(row)))
