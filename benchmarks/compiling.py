"""What the first call of a compiled function costs, stage by stage: cold, and from the disk cache.

    python benchmarks/compiling.py                    # all workloads and the chains
    python benchmarks/compiling.py --only 3,7 --rounds 5
    python benchmarks/compiling.py --stages           # where the time goes
    python benchmarks/compiling.py --peers jax.jit,torch.compile --only 3 --json first.json --write

How it measures. Each figure is the first call in a process of its own, imports of adjoint and
NumPy not counted, those that the call itself makes counted: *cold* with an empty cache, *cached*
with the cache of an earlier process. *Second* is the second call, which makes the builtin that
further calls go through. The least of the rounds is told. Chains are `x = sin(x) * 1.01` again and
again, so a chain of 1,000 has 1,000 operations; the deep network is one layer after the other,
each with weights of its own. Stages are told without the stages inside them.

With ``--peers`` other libraries' first calls are measured the same way, on the workloads:
torch.compile with a folder of its own for what it keeps, cold and filled; jax.jit keeps nothing.
Libraries are imported before, and jax has loaded its LLVM then, where ours is loaded in the call.
``--json`` adds to what the file has, and ``--write`` makes the documentation's table of all of it.
"""

import os

for _name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):  # read when the libraries are imported
    os.environ[f"{_name}_NUM_THREADS"] = "1"

import argparse
import functools
import importlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import eager
import numpy as np
from workloads import WORKLOADS

DOCS = Path(__file__).parents[1] / "docs"
# How many times as fast as a library's the first call is to be, with an empty cache and a full one.
TARGETS = {"jax.jit": (5,), "torch.compile": (100, 50)}
LENGTHS = (1_000, 4_000, 16_000, 100_000)
LAYERS = 64
# A stage is the functions of the compiler that are called for it.
STAGES = {
    "reach": ("tracing.reach",), "trace": ("jitted.trace",), "plan": ("jitted.Plan",),
    "lower": ("jit_row.lowered",), "simplify": ("jit_row.simplified",),
    "re-roll": ("jit_row.rerolled",), "verify": ("reroll.proved",),
    "fuse": ("layout.fused",), "memory": ("compiled.Layout",),
    "calibrate": ("compiled.prepare",), "emit": ("compiled.Compiled",),
    "llvmlite": ("native.llvm",), "parse": ("llvm.Direct.parsed",),
    "codegen": ("native.Library.compiled",), "load": ("native.Library.load",),
    "disk": ("cache.found", "cache.keep"), "run": ("compiled.Compiled.__call__",),
    "builtin": ("jitted.fast_call",)}
now = time.process_time if "--cpu" in sys.argv else time.perf_counter


def chain(length, gradient):
    """A chain of scalar operations, and the number that it is called with."""
    import adjoint as ad

    def f(x):
        for _ in range(length // 2):
            x = np.sin(x) * 1.01
        return x
    return functools.partial(ad.jit(ad.grad(f) if gradient else f), 0.7)


def deep(layers):
    """The gradient of a network of many layers, each with weights of its own."""
    import adjoint as ad
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((16, 16)) / 4 for _ in range(layers)]

    def f(ws, x):
        for w in ws:
            x = np.tanh(x @ w)
        return (x * x).sum()
    return functools.partial(ad.jit(ad.grad(f)), weights, rng.standard_normal((8, 16)))


def call_of(name):
    """The call of a workload or a chain, by its name."""
    kind, _, size = name.partition(" ")
    if kind in {"chain", "gradient"}:
        return chain(int(size), kind == "gradient")
    if kind == "deep":
        return deep(int(size))
    from compiled import adjoint_peer
    return WORKLOADS[name][0](adjoint_peer())


def everything():
    """The names of all that can be measured."""
    return [*WORKLOADS, *[f"chain {n}" for n in LENGTHS], *[f"gradient {n}" for n in LENGTHS],
            f"deep {LAYERS}"]


class Clock:
    """Seconds of each stage without the stages inside it."""

    def __init__(self):
        self.seconds = {}
        self.open = []

    def watch(self, stage, where):
        """Time a function or a class of the compiler, if there is such a one."""
        module, _, path = where.partition(".")
        owner = importlib.import_module(f"adjoint.compiler.{module}")
        *outer, last = path.split(".")
        for part in outer:
            owner = getattr(owner, part, None)
        f = getattr(owner, last, None)
        if f is None:
            return
        if isinstance(f, type):
            owner, last, f = f, "__init__", f.__init__

        @functools.wraps(f)
        def timed(*args, **kwargs):
            self.open.append(0.0)
            start = now()
            try:
                return f(*args, **kwargs)
            finally:
                taken, inside = now() - start, self.open.pop()
                self.seconds[stage] = self.seconds.get(stage, 0.0) + taken - inside
                if self.open:
                    self.open[-1] += taken
        setattr(owner, last, timed)


def first_call(name, staged):
    """Print the milliseconds of the first and second call in this process, and of each stage."""
    importlib.import_module("adjoint.compiler.jitted")
    clock = Clock()
    for stage, functions in STAGES.items() if staged else ():
        for where in functions:
            clock.watch(stage, where)
    call = call_of(name)
    start = now()
    call()
    first = now() - start
    call()
    second = now() - start - first
    told = {k: v * 1e3 for k, v in clock.seconds.items()}
    rest = (first + second) * 1e3 - sum(told.values())
    print(json.dumps({"first": first * 1e3, "second": second * 1e3,
                      **(told | {"rest": rest} if staged else {})}))


def run(name, staged, folder):
    """What one process says."""
    given = [sys.executable, __file__, "--first", name, *(["--stages"] if staged else []),
             *(["--cpu"] if "--cpu" in sys.argv else [])]
    out = subprocess.run(given, env=os.environ | {"ADJOINT_CACHE": folder}, capture_output=True,
                         text=True, check=False)
    if out.returncode:
        raise SystemExit(out.stderr[-2000:])
    return json.loads(out.stdout.splitlines()[-1])


def measured(name, rounds, staged):
    """The least of each figure: cold, and cached."""
    found = {"cold": [], "cached": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            found["cold"].append(run(name, staged, folder))
            found["cached"].append(run(name, staged, folder))
    return {how: {k: min(f.get(k, 0.0) for f in several) for k in several[0]}
            for how, several in found.items()}


def of_peer(name, key):
    """Milliseconds of another library's first call, and of that which finds its cache filled."""
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder}
        found = []
        for _ in TARGETS[key]:
            out = subprocess.run([sys.executable, str(Path(__file__).with_name("compiled.py")),
                                  "--first", name, key], env=env, capture_output=True, text=True,
                                 check=False)
            if out.returncode:
                print(f"{name}: {key} left out: {out.stderr[-300:]}", file=sys.stderr)
                return []
            found.append(float(out.stdout.split()[-1]))
    return found


def peers_table(rows):
    """The Markdown table of first calls beside those of other libraries."""
    from compiled import read
    keys = [k for k in TARGETS if any(k in r for r in rows.values())]
    heads = ["workload", "adjoint, ms: cold, cached", *[
        f"{k}, ms" + (": cold, cached" if len(TARGETS[k]) > 1 else "") for k in keys],
        *[f"{k} / adjoint of target" for k in keys]]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    for name in WORKLOADS:  # a file of figures may have chains, too
        if (found := rows.get(name)) is None:
            continue
        ours = [found[how]["first"] for how in ("cold", "cached")]
        cells = [WORKLOADS[name][0].__doc__.strip().rstrip("."), f"{ours[0]:.1f}, {ours[1]:.1f}"]
        cells += [", ".join(f"{t:,.0f}" for t in found.get(k, [])) or "-" for k in keys]
        cells += [", ".join(
            f"{read(t / o, 3)} of {wanted}" + ("" if t / o >= wanted else " **missed**")
            for t, o, wanted in zip(found.get(k, []), ours, TARGETS[k], strict=False)) or "-"
            for k in keys]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def written(rows):
    """Write the table into the documentation."""
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    head = (f"{eager.processor()}; {pinned} processor{'s' * (pinned > 1)}; "
            f"Python {platform.python_version()}, NumPy {np.__version__}")
    (DOCS / "first_calls_table.md").write_text(f"{head}\n\n{peers_table(rows)}\n")


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description="Time the first calls of compiled functions.")
    parser.add_argument("--only", default="", help="workloads and chains: 1,3,chain 1000,deep 64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stages", action="store_true", help="where the time goes")
    parser.add_argument("--cpu", action="store_true", help="count only this process")
    parser.add_argument("--peers", default="", help="beside: jax.jit,torch.compile")
    parser.add_argument("--json", type=Path, help="add all figures to this file")
    parser.add_argument("--write", action="store_true", help="write docs/first_calls_table.md")
    parser.add_argument("--first", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Measure and print a table in Markdown."""
    options = parse()
    if options.first:
        first_call(options.first, options.stages)
        return
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    print("| workload | cold, ms | second | cached, ms | second |\n|---|--:|--:|--:|--:|")
    names = WORKLOADS if options.peers else everything()
    for name in options.only.split(",") if options.only else names:
        rows[name] = found = measured(name, options.rounds, options.stages)
        cells = [f"{found[how][k]:.1f}" for how in found for k in ("first", "second")]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        for how in found if options.stages else ():
            told = [f"{k} {v:.1f}" for k, v in found[how].items()
                    if k not in {"first", "second"} and v >= 0.05]
            print(f"    {how}: {', '.join(told)}", flush=True)
        for key in filter(None, options.peers.split(",")):
            turns = [of_peer(name, key) for _ in range(1 if key == "torch.compile" else
                                                       options.rounds)]
            if all(turns):
                found[key] = list(map(min, zip(*turns, strict=True)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.write:
        written(rows)


if __name__ == "__main__":
    main()
