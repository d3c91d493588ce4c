"""Compiled functions beside torch eager, torch.compile and jax.jit: times, ratios, compiling.

    python benchmarks/compiled.py                     # all workloads, one thread
    python benchmarks/compiled.py --only 3,7 --quick
    python benchmarks/compiled.py --write             # also the table and plot of the documentation
    python benchmarks/compiled.py --threads 2 --only 4,5,6,7,G      # one thread and two

How it measures. One process, one thread, pinned to one core where the system allows it. Every
library runs the same function of `workloads.py` on the same numbers; the results are compared
before anything is timed. In each round every library runs the workload for a while, and the order
rotates. A ratio is the median of the rounds' ratios. *First* is the first call: tracing, compiling
and running, with an empty cache; *cached* is that in a process that finds the cache filled.
Results are fresh arrays, except that adjoint uses the memory of results again that nobody holds.

With ``--threads`` every library runs in processes of its own, one after the other, on as many
processors as threads: a library's threads that wait for work would disturb the others.
"""

import os

_THREADS = os.environ.get("COMPILED_THREADS", "1")  # of this process
for _name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):  # read when the libraries are imported
    os.environ[f"{_name}_NUM_THREADS"] = _THREADS
os.environ["JAX_PLATFORMS"], os.environ["JAX_ENABLE_X64"] = "cpu", "1"
if _THREADS == "1":
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import importlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import eager
import numpy as np
from workloads import WORKLOADS, Peer

ROUNDS, QUICK_ROUNDS, BUDGET = 11, 5, 0.05  # seconds a library and round
# Of float32; in the networks another rounding may take an element of relu to the other side of 0.
LIMITS = dict.fromkeys(("6", "6b", "7", "8", "10"), 1e-4) | dict.fromkeys(("3", "4", "5"), 1e-2)
DOCS = Path(__file__).parents[1] / "docs"
now = time.perf_counter


def adjoint_peer():
    """This library."""
    import adjoint as ad
    ad.set_threads(int(_THREADS))
    return Peer("adjoint", np, lambda x: x, ad.jit, ad.grad, lambda y: y, ad.relu,
                lambda z, y: ad.log_softmax(z)[np.arange(len(y)), y],
                ad.logsumexp, ad.hessian, ad.jacobian)


def jax_peer():
    """JAX, compiled."""
    jax = importlib.import_module("jax")
    jnp = importlib.import_module("jax.numpy")
    return Peer("jax.jit", jnp, jnp.asarray, jax.jit, jax.grad, jax.block_until_ready, jax.nn.relu,
                lambda z, y: jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1),
                lambda x, axis: jax.nn.logsumexp(x, axis=axis), jax.hessian, jax.jacrev)


def torch_peer(compiled=False):
    """PyTorch, eager or through torch.compile (which needs a C++ compiler)."""
    torch = importlib.import_module("torch")
    func = importlib.import_module("torch.func")
    torch.set_num_threads(int(_THREADS))

    def gradient(f, argnums):
        def of(*args):
            args = list(args)
            wanted = [argnums] if isinstance(argnums, int) else list(argnums)
            leaves = []
            for n in wanted:
                args[n] = [p.detach().requires_grad_() for p in args[n]] if isinstance(
                    args[n], list) else args[n].detach().requires_grad_()
                leaves += args[n] if isinstance(args[n], list) else [args[n]]
            return list(torch.autograd.grad(f(*args), leaves))
        return of

    def array(x):
        return torch.from_numpy(x.copy())

    class Functions:
        log, sin, exp, tanh, sqrt = torch.log, torch.sin, torch.exp, torch.tanh, torch.sqrt

    def call(f):
        f = torch.compile(f) if compiled else f

        def numbers(*args):
            return f(*[torch.tensor(a, dtype=torch.float64) if isinstance(a, float) else a
                       for a in args])
        return numbers
    return Peer("torch.compile" if compiled else "torch", Functions, array, call, gradient,
                lambda y: y, torch.relu,
                lambda z, y: torch.log_softmax(z, -1).gather(1, y[:, None]),
                torch.logsumexp, func.hessian, func.jacrev)


PEERS = {"adjoint": adjoint_peer, "jax.jit": jax_peer, "torch": torch_peer,
         "torch.compile": lambda: torch_peer(compiled=True)}


def leaves(y):
    """The arrays of a result, in order."""
    if isinstance(y, (list, tuple)):
        return [x for part in y for x in leaves(part)]
    return [np.asarray(y.detach() if hasattr(y, "detach") else y, float)]


def check(name, results):
    """An error unless all libraries gave the same numbers."""
    ours = leaves(results["adjoint"])
    for peer, theirs in results.items():
        for a, b in zip(ours, leaves(theirs), strict=True):
            scale = np.abs(b).max() + 1e-30
            worst = np.abs(a.reshape(b.shape) - b).max() / scale
            limit = LIMITS.get(name, 1e-6)
            if not worst < limit:
                raise SystemExit(f"{name}: adjoint and {peer} differ by {worst:.1e} of {scale:.1e}")


def measured(name, peers, rounds):
    """Medians in microseconds of one workload, the ratios to ours, and their noise."""
    calls, results = {}, {}
    for key, peer in peers.items():
        try:
            call = WORKLOADS[name][0](peer)
            results[key] = call()
        except Exception as e:
            if key == "adjoint":
                raise
            print(f"{name}: {key} left out: {type(e).__name__}: {str(e)[:100]}", file=sys.stderr)
            continue
        calls[key] = call
    check(name, results)
    turns, times = {}, {key: [] for key in calls}
    for key, call in calls.items():
        call()
        call()
        start = now()
        call()
        turns[key] = max(1, int(BUDGET / max(now() - start, 1e-7)))
    order = list(calls)
    for r in range(rounds):
        k = r % len(order)
        for key in order[k:] + order[:k]:
            call, n = calls[key], turns[key]
            call()
            start = now()
            for _ in range(n):
                call()
            times[key].append((now() - start) / n)
    ratios = {key: [a / b for a, b in zip(found, times["adjoint"], strict=True)]
              for key, found in times.items() if key != "adjoint"}
    return {"us": {key: median(found) * 1e6 for key, found in times.items()},
            "ratio": {key: median(found) for key, found in ratios.items()},
            "noise": {key: (quantiles(found)[2] - quantiles(found)[0]) / 2
                      for key, found in ratios.items()}}


def first_calls(name, key):
    """Milliseconds of the first call in a new process; for adjoint again with its cache filled."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"ADJOINT_CACHE": folder, "TORCHINDUCTOR_CACHE_DIR": folder}
        for _ in range(2 if key == "adjoint" else 1):
            out = subprocess.run([sys.executable, __file__, "--first", name, key], env=env,
                                 capture_output=True, text=True, check=False)
            lines = out.stdout.split()
            found.append(float(lines[-1]) if out.returncode == 0 and lines else None)
    return found


def one_first_call(name, key):
    """Print the milliseconds of the first call in this process, imports not counted."""
    peer = PEERS[key]()
    if key == "adjoint":
        importlib.import_module("adjoint.compiler.jitted")
    call = WORKLOADS[name][0](peer)
    start = now()
    call()
    print((now() - start) * 1e3)


def alone(name, key):
    """Print the microseconds of one workload in this process, which has `_THREADS` processors."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(_THREADS):])
    call = WORKLOADS[name][0](PEERS[key]())
    for _ in range(3):
        call()
    start = now()
    call()
    turns, times = max(1, int(BUDGET / max(now() - start, 1e-7))), []
    for _ in range(QUICK_ROUNDS):
        start = now()
        for _ in range(turns):
            call()
        times.append((now() - start) / turns)
    print(median(times) * 1e6)


def threaded(name, keys, threads, rounds):
    """Medians in microseconds of one workload by library and threads, each in processes."""
    times = {}
    for _ in range(rounds):
        for key in keys:
            for n in (1, threads):
                out = subprocess.run([sys.executable, __file__, "--alone", name, key],
                                     env=os.environ | {"COMPILED_THREADS": str(n)},
                                     capture_output=True, text=True, check=False)
                if out.returncode:
                    print(f"{name}: {key} left out: {out.stderr[-200:]}", file=sys.stderr)
                else:
                    times.setdefault((key, n), []).append(float(out.stdout.split()[-1]))
    return {which: median(found) for which, found in times.items()}


def threads_table(rows, keys, threads):
    """The Markdown table of times on one and on several threads."""
    heads = ["workload", *[f"{key}, us: 1, {threads}" for key in keys],
             *[f"{key}: gain" for key in keys],
             *[f"{key} / adjoint, {threads} threads" for key in keys if key != "adjoint"]]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    for name, found in rows.items():
        both = {k: (found[k, 1], found[k, threads]) for k in keys if (k, threads) in found}
        cells = [WORKLOADS[name][0].__doc__.strip().rstrip(".")]
        cells += [f"{read(both[k][0])}; {read(both[k][1])}" if k in both else "-" for k in keys]
        cells += [f"{both[k][0] / both[k][1]:.2f}" if k in both else "-" for k in keys]
        cells += [read(both[k][1] / both["adjoint"][1], 3) if k in both else "-"
                  for k in keys if k != "adjoint"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def on_threads(options):
    """Measure one thread and several, and print."""
    keys = ["adjoint", *filter(None, options.peers.split(","))]
    rows = {}
    for name in options.only.split(",") if options.only else WORKLOADS:
        rows[name] = threaded(name, keys, options.threads, 1 if options.quick else 3)
        print(name, {f"{k} {n}": round(v, 1) for (k, n), v in rows[name].items()},
              file=sys.stderr)
    text = (f"{eager.processor()}; one and {options.threads} threads; "
            f"Python {platform.python_version()}, NumPy {np.__version__}\n\n"
            f"{threads_table(rows, keys, options.threads)}\n")
    print(text)
    if options.write:
        (DOCS / "threads_table.md").write_text(text)


def read(number, digits=4):
    """A time or a ratio with so many digits, or all that stand before the point."""
    short = f"{number:.{digits}g}"
    return short if float(short) < 1000 else f"{number:,.0f}"


def cell(found, key, target):
    """A ratio beside its target."""
    if key not in found["ratio"]:
        return "-"
    ratio = found["ratio"][key]
    noise = found["noise"][key]
    told = f"{read(ratio, 3)} (±{f'{noise:.0f}' if noise >= 10 else f'{noise:.2g}'})"
    if target is None:
        return told
    return f"{told} of {target:g}" + ("" if ratio >= target else ", **missed**")


def table(rows, peers):
    """The Markdown table."""
    others = [k for k in peers if k != "adjoint"]
    heads = ["workload", *[f"{k}, us" for k in peers],
             *[f"{k} / adjoint" + (" of target" if k in {"torch", "jax.jit"} else "")
               for k in others], "first call, ms: adjoint, cached; others"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    for name, found in rows.items():
        work, (torch, jax), _ = WORKLOADS[name]
        targets = {"torch": torch, "jax.jit": jax}
        cells = [work.__doc__.strip().rstrip(".")]
        cells += [read(found["us"][k]) if k in found["us"] else "-" for k in peers]
        cells += [cell(found, k, targets.get(k)) for k in others]
        ours = ", ".join("-" if t is None else f"{t:.0f}" for t in found["first"]["adjoint"])
        rest = ", ".join(f"{k} {t[0]:.0f}" for k, t in found["first"].items()
                         if k != "adjoint" and t[0] is not None)
        cells.append(f"{ours}; {rest}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows, path):
    """The ratios as bars, on a logarithmic axis."""
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(rows) + 1.2))
    names = list(rows)[::-1]
    for shift, key, colour in ((0.2, "torch", "#c46a1b"), (-0.2, "jax.jit", "#2b6cb0")):
        values = [rows[n]["ratio"].get(key, np.nan) for n in names]
        # Bars begin at 1: to the left of it are those that took less time than adjoint.
        bars = axes.barh(np.arange(len(names)) + shift, np.array(values) - 1.0, 0.38, left=1.0,
                         color=colour, label=f"{key} / adjoint")
        axes.bar_label(bars, [("" if np.isnan(v) else read(v, 3)) for v in values], padding=3,
                       fontsize=8)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(np.arange(len(names)), [WORKLOADS[n][2] for n in names])
    axes.set_xlabel("times as long as adjoint, one thread")
    axes.legend(loc="lower right", frameon=False)
    axes.margins(x=0.15)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description="Time compiled functions beside other libraries.")
    parser.add_argument("--only", default="", help="workloads, as 1,3,G")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--peers", default="jax.jit,torch", help="of jax.jit, torch, torch.compile")
    parser.add_argument("--no-first", action="store_true", help="leave out the first calls")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--write", action="store_true", help="write docs/compiled_table.md, plot")
    parser.add_argument("--threads", type=int, default=1,
                        help="measure one thread and so many, in processes of their own")
    parser.add_argument("--first", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Measure and print."""
    options = parse()
    if options.first:
        one_first_call(*options.first)
        return
    if options.alone:
        alone(*options.alone)
        return
    if options.threads > 1:
        on_threads(options)
        return
    pinned = eager.pin()
    peers = {"adjoint": adjoint_peer()}
    for key in filter(None, options.peers.split(",")):
        try:
            peers[key] = PEERS[key]()
        except ImportError as e:
            print(f"left out: {e}", file=sys.stderr)
    rows = {}
    for name in options.only.split(",") if options.only else WORKLOADS:
        rows[name] = measured(name, peers, QUICK_ROUNDS if options.quick else ROUNDS)
        rows[name]["first"] = {k: [None] if options.no_first else first_calls(name, k)
                               for k in peers}
        print(name, {k: round(v, 2) for k, v in rows[name]["ratio"].items()}, file=sys.stderr)
    head = (f"{eager.processor()}; one thread, {pinned}; Python {platform.python_version()}, "
            f"NumPy {np.__version__}")
    text = f"{head}\n\n{table(rows, list(peers))}\n"
    print(text)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.write:
        (DOCS / "compiled_table.md").write_text(text)
        plot(rows, DOCS / "pictures" / "compiled.svg")


if __name__ == "__main__":
    main()
