"""The README's demo, as it comes out."""
from benchmarks.common import run


def measure(bench):
    lines = run(["sh", "-c", f"exec tools/demo --build {bench.build} 2>&1"]).splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("demo: ") and " run " in line)
    end = next(i for i, line in enumerate(lines) if line.startswith("demo: right"))
    return [line.replace(bench.build + "/", "build/") for line in lines[begin : end + 1]]


def table(lines):
    yield "```"
    yield from lines
    yield "```"
