"""Nanoseconds per element of scalar functions, and their errors: compiled, NumPy and jax.jit.

    python benchmarks/functions.py               # jax is left out where it is not installed
    python benchmarks/functions.py --only exp tanh --size 100000

One thread on one core, one process. In each round each library computes the same array, in an
order that rotates; a figure is the least of the rounds, in seconds of the processor, which other
programs on the machine hardly change. Errors are the largest in ulp over the same array, against
NumPy's long double. Prints a table in Markdown; ``--write`` makes it docs/functions_table.md.
"""

import os

for _name in ("OMP", "OPENBLAS", "MKL"):  # read when NumPy is imported
    os.environ[f"{_name}_NUM_THREADS"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import argparse
import importlib.util
import time

import numpy as np
from compiled import DOCS
from gemm import processor

import adjoint as ad

# name: arguments of a standard normal variable
FUNCTIONS = {
    "exp": lambda x: x * 10, "log": lambda x: np.exp(x * 10), "tanh": lambda x: x * 2,
    "sin": lambda x: x * 100, "cos": lambda x: x * 100, "expm1": lambda x: x * 3,
    "log1p": lambda x: np.exp(x * 3), "exp2": lambda x: x * 10, "log2": lambda x: np.exp(x * 10)}
now = time.process_time


def contenders(name, x):
    """The name of each library, and a call that gives an array."""
    function, out = getattr(np, name), np.empty_like(x)
    ours = ad.jit(function)
    yield "adjoint", lambda: ours(x)
    yield "NumPy", lambda: function(x, out=out)
    if importlib.util.find_spec("jax"):
        import jax

        jax.config.update("jax_enable_x64", True)
        theirs, u = jax.jit(getattr(jax.numpy, name)), jax.numpy.asarray(x)
        yield "jax", lambda: theirs(u).block_until_ready()


def error(name, x, y):
    """The largest error in ulp, of results that are not subnormal."""
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.longdouble))
        normal = (np.abs(exact) >= np.finfo(x.dtype).tiny) & (np.abs(exact) < np.finfo(x.dtype).max)
        spacing = np.spacing(np.abs(exact[normal]).astype(x.dtype)).astype(np.longdouble)
        return float((np.abs(np.asarray(y)[normal] - exact[normal]) / spacing).max())


def measured(name, dtype, size, rounds):
    """Nanoseconds per element and largest error of each library."""
    x = FUNCTIONS[name](np.random.default_rng(0).standard_normal(size)).astype(dtype)
    calls = list(contenders(name, x))
    errors = {library: error(name, x, call()) for library, call in calls}
    least, count = {}, max(1, 500_000 // size)
    for r in range(rounds):
        for k in range(len(calls)):
            library, call = calls[(k + r) % len(calls)]
            start = now()
            for _ in range(count):
                call()
            taken = (now() - start) / count / size * 1e9
            least[library] = min(taken, least.get(library, taken))
    return {library: (least[library], errors[library]) for library, _ in calls}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=list(FUNCTIONS), choices=list(FUNCTIONS))
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--write", action="store_true", help="write docs/functions_table.md")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lines = [f"{processor()}; one thread, NumPy {np.__version__}, {given.size:,} elements."]
    for dtype in (np.float32, np.float64):
        for name in given.only:
            found = measured(name, dtype, given.size, given.rounds)
            if name == given.only[0]:
                heads = " | ".join(f"{k}, ns | ulp" for k in found)
                lines += ["", f"| {np.dtype(dtype).name} | {heads} |",
                          "|---|" + "--:|--:|" * len(found)]
            cells = " | ".join(f"{t:.3f} | {e:.2f}" for t, e in found.values())
            lines.append(f"| {name} | {cells} |")
            print("\n".join(lines[-4:] if name == given.only[0] else lines[-1:]), flush=True)
    if given.write:
        DOCS.joinpath("functions_table.md").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
