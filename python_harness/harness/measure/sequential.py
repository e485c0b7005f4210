"""Runs tasks one after another through a Parsl configuration and times each, from submit to result.

    python -m harness.measure.sequential CONFIG.py COUNT

Prints one JSON object, in milliseconds.
"""

from __future__ import annotations

import json
import runpy
import statistics
import sys
import time

import parsl

WARM_UP = 50


@parsl.python_app
def nothing():
    return None


def main(config: str, count: int) -> None:
    with parsl.load(runpy.run_path(config)["config"]):
        for _ in range(WARM_UP):
            nothing().result()
        taken_ms = []
        for _ in range(count):
            begun = time.perf_counter()
            nothing().result()
            taken_ms.append((time.perf_counter() - begun) * 1000)
    percentiles = statistics.quantiles(taken_ms, n=100)
    print(json.dumps({"p50_ms": statistics.median(taken_ms), "p99_ms": percentiles[98]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
