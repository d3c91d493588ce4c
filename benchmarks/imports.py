"""How long `import adjoint` takes over `import numpy`: fresh processes in turn, medians.

    python benchmarks/imports.py

torch and HIPS autograd are timed too where they are installed. Each process measures its own import
statement, so that starting Python is not counted. `over NumPy` is what the library adds to NumPy.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

MODULES = ("numpy", "adjoint", "autograd", "torch")
PROGRAM = ("import sys, time; t = time.perf_counter(); import {0}; "
           "print(time.perf_counter() - t, len(sys.modules))")


def once(module):
    """Seconds for one import in a new process, and the number of modules loaded by then."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    out = subprocess.run([sys.executable, "-c", PROGRAM.format(module)], capture_output=True,
                         text=True, check=True, env=env)
    seconds, modules = out.stdout.split()
    return float(seconds), int(modules)


def measure(rounds):
    """{module: (median ms, half the distance between the quartiles, modules)}."""
    present = [m for m in MODULES if importlib.util.find_spec(m) is not None]
    for m in present:
        once(m)  # byte code and the disk cache
    runs = {m: [] for m in present}
    for turn in range(rounds):
        k = turn % len(present)
        for m in present[k:] + present[:k]:
            runs[m].append(once(m))
    out = {}
    for m, found in runs.items():
        times = [seconds * 1e3 for seconds, _ in found]
        low, _, high = quantiles(times)
        out[m] = median(times), (high - low) / 2, found[0][1]
    return out


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time imports in fresh processes.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    found = measure(options.rounds)
    base = found["numpy"][0]
    print(f"# Imports\n\nPython {platform.python_version()}, "
          f"medians of {options.rounds} processes\n")
    print("| module | ms | noise ± ms | over NumPy, ms | modules |\n|---|--:|--:|--:|--:|")
    for m, (ms, noise, modules) in found.items():
        print(f"| {m} | {ms:.1f} | {noise:.1f} | {ms - base:.1f} | {modules} |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
