"""Seconds that ad.explain and each of its views take of a program of 100,000 steps.

    python benchmarks/explaining.py                        # all views, each in a process of its own
    python benchmarks/explaining.py table paths            # these views
    python benchmarks/explaining.py --steps 1000000 table  # a program of a million steps
    python benchmarks/explaining.py --program calls        # each step in a function of its own

What is asked: explain and any one view together take less than 5 s (50 us a step) wherever the
tests run; the aim is 4 s (40 us a step) of a processor that is shared. That is spent as follows,
in us a step.

    explain     16    the program with everything kept 6, a look at its variables 3, the order of
                      the graph 2, Steps and their names 5
    adjoints     6    made once for all views that show them: the rule 3, the contribution 3
    a view      18    of which little is for what is not shown: a table prints 60 rows, and makes
                      cells for no others

Wall is what a user waits, CPU what this process computed: on a busy machine they differ.
"""

import argparse
import subprocess
import sys
import time

import numpy as np

import adjoint as ad

STEPS = 100_000
LIMIT = 5.0


def chain(steps):
    """One loop; each step has a name."""
    def f(x, w):
        for _ in range(steps // 4):
            a = np.sin(x)
            b = a * w
            c = b + 0.5
            x = c / 1.5
        return x
    return f


def calls(steps):
    """The same steps in small functions, as programs are written."""
    def affine(a, w):
        product = a * w
        return product + 0.5

    def layer(x, w):
        return affine(np.sin(x), w) / 1.5

    def f(x, w):
        for _ in range(steps // 4):
            x = layer(x, w)
        return x
    return f


def tree(steps):
    """Many names, and sums over a list: steps are used far from where they are made."""
    def f(x, w):
        ys = [x]
        for k in range(steps // 4):
            ys.append(np.tanh(ys[-1] * w + ys[k // 2] * 0.1))
        return ys[-1]
    return f


PROGRAMS = {"chain": chain, "calls": calls, "tree": tree}
VIEWS = {
    "explain": lambda e: None,
    "adjoints": lambda e: e.adjoint("x"),
    "table": lambda e: str(e.table()),
    "forward": lambda e: str(e.forward("x")),
    "modes": lambda e: str(e.modes()),
    "graph": lambda e: e.graph().svg(),
    "latex": lambda e: str(e.latex()),
    "steps": lambda e: str(e.steps()),
    "why": lambda e: str(e.why()),
    "why one": lambda e: str(e.why("w")),
    "paths": lambda e: str(e.paths("x")),
    "paths by name": lambda e: str(e.paths("x", group=True)),
    "chain": lambda e: str(e.chain()),
    "chain of all": lambda e: str(e.chain("w", group=False)),
    "influence": lambda e: str(e.influence()),
}


def measured(program, steps, view):
    """Print one line: explain, the view, both, on the wall and of the processor."""
    f = PROGRAMS[program](steps)
    times = [(time.perf_counter(), time.process_time())]
    e = ad.explain(f, 0.7, 1.1)
    times.append((time.perf_counter(), time.process_time()))
    VIEWS[view](e)
    times.append((time.perf_counter(), time.process_time()))
    first, second, both = [
        [b - a for a, b in zip(start, end, strict=True)]
        for start, end in ((times[0], times[1]), (times[1], times[2]), (times[0], times[2]))]
    late = "" if both[0] < LIMIT * max(1, steps / STEPS) else "  too long"
    numbers = "".join(f"{t:9.2f}" for t in (first[0], second[0], *both))
    print(f"{view:<14}{numbers}{late}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("views", nargs="*", help=f"of {', '.join(VIEWS)}; all if none is named")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--program", choices=sorted(PROGRAMS), default="chain")
    parser.add_argument("--alone", action="store_true", help="in this process, without a heading")
    given = parser.parse_args()
    for view in given.views:
        if view not in VIEWS:
            parser.error(f"there is no view {view!r}; there is {', '.join(VIEWS)}")
    if given.alone:
        for view in given.views:
            measured(given.program, given.steps, view)
        return
    print(f"{given.program}, {given.steps:,} steps; seconds")
    print(f"{'':<14}{'explain':>9}{'view':>9}{'both':>9}{'CPU':>9}")
    for view in given.views or VIEWS:
        subprocess.run([sys.executable, __file__, "--alone", "--steps", str(given.steps),
                        "--program", given.program, view], check=True)


if __name__ == "__main__":
    main()
