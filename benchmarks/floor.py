"""The floor of eager backward on NumPy: a chain's sweep replayed without any graph.

`python benchmarks/floor.py` prints what the NumPy calls of a backward pass cost alone, for
programs of eager.py; the rest of adjoint's time there is recording and sweeping.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import time

import numpy as np

STEPS, ROUNDS = 200, 25
ONE = np.ones(())  # half the time of a Python number


def multiply(values, w, g):
    total = np.zeros_like(w)
    for x in reversed(values):
        total += g * x
        g = g * w
    return g, total


def divide(values, w, g):
    total = np.zeros_like(w)
    for x in reversed(values):
        dx = g / w
        total += -(dx * x)
        g = dx
    return g, total


def tanh(values, w, g):
    for y in reversed(values):
        g = g * (ONE - y * y)
    return g, None


def main():
    print("| elements | program | NumPy alone, backward, ns per operation |\n|---|---|--:|")
    for size in (4, 10_000):
        w = np.full(size, 1.0001)
        values = [np.full(size, 0.5) for _ in range(STEPS)]
        for program in (multiply, divide, tanh):
            times = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                program(values, w, np.ones(size))
                times.append((time.perf_counter() - start) / STEPS * 1e9)
            print(f"| {size:,} | {program.__name__} | {statistics.median(times):,.0f} |")


if __name__ == "__main__":
    main()
