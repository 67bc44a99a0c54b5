"""A benchmark worker: a process that measures one thing a line, so that two environments can take turns.

The driver writes the name of a measurement, the worker runs one round and answers with one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

Figures = dict[str, float]
Measurement = Callable[[], Figures]


def per_call_us(function: Callable[[], object], calls: int) -> Figures:
    """CPU of this thread and wall time per call, in microseconds."""
    cpu = time.thread_time_ns()
    wall = time.perf_counter_ns()
    for _ in range(calls):
        function()
    wall = time.perf_counter_ns() - wall
    cpu = time.thread_time_ns() - cpu
    return {"thread_cpu_us": cpu / calls / 1000, "wall_us": wall / calls / 1000}


def serve(measurements: dict[str, Callable[[], Measurement]]) -> None:
    """Answer rounds until the driver closes the pipe. A measurement is prepared at its first round."""
    ready: dict[str, Measurement] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in ready:
            ready[name] = measurements[name]()
            ready[name]()  # One round to warm up, not counted.
        sys.stdout.write(json.dumps(ready[name]()) + "\n")
        sys.stdout.flush()
