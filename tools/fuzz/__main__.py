"""Random programs against differences and themselves: `python -m tools.fuzz --help`."""

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")  # the processes share the cores

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from .report import Tally, described
from .work import chunk, mutation_chunk


def arguments():
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="operations to draw from, instead of all")
    parser.add_argument("--compiled", action="store_true",
                        help="hold each program and its gradient, compiled, against itself")
    parser.add_argument("--mutate", type=int, default=0, metavar="N",
                        help="make N random rules wrong, and see whether each is found")
    return parser.parse_args()


def main():
    given = arguments()
    if given.mutate:
        return mutate(given)
    size = max(1, min(100, given.programs // (4 * given.processes) or 1))
    starts = range(given.first, given.first + given.programs, size)
    jobs = [(given.seed, a, min(a + size, given.first + given.programs), given.only,
             given.compiled)
            for a in starts]
    tally, began = Tally(), time.perf_counter()
    with ProcessPoolExecutor(given.processes) as pool:
        for done in pool.map(chunk, jobs):
            for failure in done.failures:
                print(described(failure), flush=True)
            tally.add(done)
            print(f"\r{tally.programs} programs, {len(tally.failures)} with a mismatch",
                  end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(tally.table())
    print(f"{time.perf_counter() - began:.0f} seconds, {given.processes} processes")
    return 1 if tally.failures or (tally.missing() and not given.compiled) else 0


def mutate(given):
    """Each of N random mutations must be found."""
    jobs = [(given.seed, n, given.mutate) for n in range(given.mutate)]
    found = 0
    with ProcessPoolExecutor(given.processes) as pool:
        for text, hit in pool.map(mutation_chunk, jobs):
            found += hit
            print(text, flush=True)
    print(f"{found} of {given.mutate} wrong rules were found")
    return 0 if found == given.mutate else 1


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
