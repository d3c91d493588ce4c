"""GFLOP/s of products of square matrices: our kernels, NumPy, SciPy's BLAS from a kernel, and jax.

    python benchmarks/gemm.py                    # peers that are not installed are left out
    python benchmarks/gemm.py --sides 64 512 --json out.json
    python benchmarks/gemm.py --write           # docs/gemm_table.md

One thread on one core, one process. In each round each library multiplies, in an order that
rotates, so often that a round takes about ten milliseconds; a figure is the median of the rounds,
in seconds of the processor, which other programs on the machine hardly change. A ratio is the
median of the rounds' ratios: above 1 our kernel is faster. Ours and BLAS are called through ctypes
and NumPy with `out=`; jax allocates its result, and its calls cost 5 to 7 microseconds.
"""

import os

for _name in ("OMP", "OPENBLAS", "MKL"):  # read when NumPy is imported
    os.environ[f"{_name}_NUM_THREADS"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import argparse
import importlib.util
import json
import time
from pathlib import Path
from statistics import median

import eager
import numpy as np

from adjoint.compiler.blas import SYMBOLS, address
from adjoint.compiler.blocks import THICK
from adjoint.compiler.calibration import square
from adjoint.compiler.native import host

SIDES = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
PEERS = ("adjoint", "NumPy", "jax")
DOCS = Path(__file__).parents[1] / "docs"
now = time.process_time


def contenders(dtype, side):
    """The name of each library, and a call that multiplies."""
    ours = square(dtype, side, host(), 0)
    x, z = (np.random.default_rng(0).normal(size=(side, side)).astype(dtype) for _ in range(2))
    left, right, result, *_ = ours.arrays.values()
    left[...], right[...] = x, z
    ours()
    want = x @ z
    assert np.abs(result - want).max() <= 2 * side * np.finfo(dtype).eps * (abs(x) @ abs(z)).max()
    out = np.empty_like(want)
    yield "adjoint", ours
    yield "NumPy", lambda: np.matmul(x, z, out=out)
    if side >= THICK and address(SYMBOLS[dtype.name]):
        yield "BLAS", square(dtype, side, host(), side)
    if importlib.util.find_spec("jax"):
        import jax

        jax.config.update("jax_enable_x64", True)
        f, u, v = jax.jit(lambda x, z: x @ z), jax.numpy.asarray(x), jax.numpy.asarray(z)
        yield "jax", lambda: f(u, v).block_until_ready()


def measured(dtype, side, rounds):
    """Median GFLOP/s of each library, and the median ratio of its time to ours."""
    calls = list(contenders(dtype, side))
    times = {name: [] for name, _ in calls}
    count = max(1, int(5e8 / side ** 3 / (2 if dtype.itemsize == 8 else 1)))
    for r in range(rounds + 1):
        for k in range(len(calls)):
            name, call = calls[(k + r) % len(calls)]
            start = now()
            for _ in range(count):
                call()
            if r:  # the first round warms up
                times[name].append((now() - start) / count)
    return {name: {"gflops": 2e-9 * side ** 3 / median(taken),
                   "ratio": median([t / o for t, o in zip(taken, times["adjoint"], strict=True)])}
            for name, taken in times.items()}


def markdown(table, sides):
    """The results as a Markdown table: GFLOP/s, and how many times as long as ours it took."""
    names = [f"{dtype}: {peer}" for dtype in ("float32", "float64") for peer in PEERS]
    lines = ["| side | " + " | ".join(names) + " |", "|--:|" + "--:|" * len(names)]
    for side in sides:
        cells = [f"{side:,}"]
        for dtype in ("float32", "float64"):
            row = table[f"{dtype} {side}"]
            cells += [cell(row[peer], peer) if peer in row else "-" for peer in PEERS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(found, peer):
    """The speed of a library, and the ratio of its time to ours."""
    speed = f"{found['gflops']:.3g}"
    return speed if peer == "adjoint" else f"{speed} ({found['ratio']:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="write docs/gemm_table.md")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    name = eager.processor()
    print(f"{name} as {host().cpu}, vectors of {host().vector_bytes} bytes; GFLOP/s (time over "
          "ours)")
    table = {}
    for dtype in map(np.dtype, (np.float32, np.float64)):
        for side in given.sides:
            found = table[f"{dtype.name} {side}"] = measured(dtype, side, given.rounds)
            told = [f"{name} {f['gflops']:6.1f}" + ("" if name == "adjoint" else
                                                    f" ({f['ratio']:4.2f})")
                    for name, f in found.items()]
            print(f"{dtype.name} {side:5}   " + "   ".join(told), flush=True)
    if given.json:
        given.json.write_text(json.dumps({"processor": name, "table": table}, indent=1))
    if given.write:
        (DOCS / "gemm_table.md").write_text(
            f"{name}; one thread; NumPy {np.__version__}\n\n"
            f"{markdown(table, given.sides)}\n")


if __name__ == "__main__":
    main()
