"""Nanoseconds per recorded operation, forward and backward, beside torch eager and HIPS autograd.

    python3 go.py bench                          # in the peers' environment, made if need be
    python benchmarks/eager.py --quick           # in any environment; missing peers are left out
    python benchmarks/eager.py --json out.json

How it measures. One thread, one core where the system allows it, one process. A *program* (below)
is a chain of 200 operations; all libraries run the same Python loop on the same float64 numbers,
x and w both ask for gradients, and the gradients are compared before anything is timed. In each
round every library runs the program once, and the order rotates from round to round. *Forward* is
the loop; *backward* is the call that sweeps, with the cotangent made beforehand. Freeing is not in
it: torch frees its graph when the result dies, after the call, adjoint within it (the JSON file has
the time that `del y` takes as `free`). The garbage collector runs as it does for users.
A ratio is the median of the rounds' ratios; its noise is half the distance between the quartiles.
"""

import os

for _name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR"):  # read when NumPy and torch are imported
    os.environ[f"{_name}_NUM_THREADS"] = "1"

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import math
import platform
import resource
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median, quantiles

import numpy as np

import adjoint as ad

LENGTH = 200  # operations in a program
ROUNDS, QUICK_ROUNDS = 41, 9
CHAIN, QUICK_CHAIN = 1_000_000, 100_000
SIZES = (0, 4, 10_000)
TARGETS = {0: (2.2, 3.2), 4: (1.5, 2.1), 10_000: (1.4, 1.6)}  # against torch, geometric means
FLOOR, HIPS_TARGET, VALUE_TARGET = 0.9, 7.0, 1.3
now = time.perf_counter


# ---------------------------------------------------------------- programs: (f, x, w, n) -> y

def add(f, x, w, n):
    """`x + w`, w = 0.001."""
    for _ in range(n):
        x = x + w
    return x


def multiply(f, x, w, n):
    """`x * w`, w within 0.001 of 1."""
    for _ in range(n):
        x = x * w
    return x


def divide(f, x, w, n):
    """`x / w`, w within 0.001 of 1."""
    for _ in range(n):
        x = x / w
    return x


def exp(f, x, w, n):
    """`exp(-x)`: half of the operations are negations, without which the chain overflows."""
    for _ in range(n // 2):
        x = f.exp(-x)
    return x


def tanh(f, x, w, n):
    """`tanh(x)`."""
    for _ in range(n):
        x = f.tanh(x)
    return x


def total(f, x, w, n):
    """`sum(x) * w`, w = 1/size: half are products of a 0-d value and an array, the way back."""
    for _ in range(n // 2):
        x = f.sum(x) * w
    return x


def matmul(f, x, w, n):
    """`x @ w`, w orthogonal."""
    for _ in range(n):
        x = x @ w
    return x


def fused(f, x, w, n):
    """`x * w + x`, w = 0.001: half are products, half sums."""
    for _ in range(n // 2):
        x = x * w + x
    return x


def number(f, x, w, n):
    """`x * 0.999`: the other operand is a Python number."""
    for _ in range(n):
        x = x * 0.999
    return x


def sine(f, x, w, n):
    """`sin(x)`."""
    for _ in range(n):
        x = f.sin(x)
    return x


def cosine(f, x, w, n):
    """`cos(x)`."""
    for _ in range(n):
        x = f.cos(x)
    return x


def relu(f, x, w, n):
    """`relu(x)` of a positive x."""
    for _ in range(n):
        x = x.relu()
    return x


COUNTED = {"add": add, "mul": multiply, "div": divide, "exp(-x)": exp, "tanh": tanh,
           "sum(x)*w": total, "matmul": matmul}
# Not in the means: combinations, and float64 sin and cos, which are NumPy's own loops.
APART = {"x*w+x": fused, "x*0.999": number, "sin": sine, "cos": cosine}


def operands(name, size):
    """The two arrays of a program, the same in every run."""
    rng = np.random.default_rng(0)
    shape = (size,) if size else ()
    x = rng.uniform(0.4, 0.9, shape)
    w = {"add": np.full(shape, 1e-3), "x*w+x": np.full(shape, 1e-3),
         "sum(x)*w": np.full(shape, 1.0 / max(size, 1))}.get(name, rng.uniform(0.999, 1.001, shape))
    if name == "matmul":
        side = math.isqrt(size)
        x, w = x.reshape(side, side), np.linalg.qr(rng.normal(size=(side, side)))[0]
    return x[()], w[()]


# ---------------------------------------------------------------- libraries

class Adjoint:
    """This library."""

    name = "adjoint"
    version = ad.__version__

    def __call__(self, program, x, w, n):
        x, w = ad.tensor(x, requires_grad=True), ad.tensor(w, requires_grad=True)
        seed = ad.tensor(np.ones(x.shape))
        start = now()
        y = program(ad, x, w, n)
        built = now()
        y.backward(seed)
        swept = now()
        del y
        return built - start, swept - built, now() - swept, [gradient(x), gradient(w)]


class Torch:
    """PyTorch, eager."""

    name = "torch"

    def __init__(self):
        self.torch = importlib.import_module("torch")
        self.version = self.torch.__version__
        self.torch.set_num_threads(1)

    def __call__(self, program, x, w, n):
        torch = self.torch
        x, w = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
        seed = torch.ones_like(x)
        start = now()
        y = program(torch, x, w, n)
        built = now()
        y.backward(seed)
        swept = now()
        del y
        return built - start, swept - built, now() - swept, [gradient(x), gradient(w)]


class Hips:
    """HIPS autograd."""

    name = "HIPS autograd"

    def __init__(self):
        self.numpy = importlib.import_module("autograd.numpy")
        self.make_vjp = importlib.import_module("autograd.core").make_vjp
        self.version = importlib.metadata.version("autograd")

    def __call__(self, program, x, w, n):
        seed = np.ones(np.shape(x))[()]
        start = now()
        vjp, y = self.make_vjp(lambda v: program(self.numpy, v[0], v[1], n), (x, w))
        built = now()
        found = vjp(seed)
        swept = now()
        del vjp, y
        return built - start, swept - built, now() - swept, list(found)


class Numpy:
    """NumPy without a record: what the numbers alone cost, forward."""

    name = "NumPy"
    version = np.__version__

    def __call__(self, program, x, w, n):
        start = now()
        program(np, x, w, n)
        return now() - start, 0.0, 0.0, None


class Values:
    """A scalar `Value` class of lectures: adjoint's, or micrograd's."""

    def __init__(self, name, module, distribution=None):
        self.name, self.Value = name, importlib.import_module(module).Value
        self.version = importlib.metadata.version(distribution) if distribution else ad.__version__

    def __call__(self, program, x, w, n):
        x, w = self.Value(float(x)), self.Value(float(w))
        start = now()
        y = program(None, x, w, n)
        built = now()
        y.backward()
        swept = now()
        del y
        return built - start, swept - built, now() - swept, [x.grad, w.grad]


def gradient(leaf):
    """The gradient as an array; zeros where none arrived."""
    return np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()


def installed(*makers):
    """The libraries that can be imported; the others are named."""
    found = []
    for maker in makers:
        try:
            found.append(maker())
        except (ImportError, AttributeError) as e:
            print(f"left out: {e}", file=sys.stderr)
    return found


# ---------------------------------------------------------------- measuring

@dataclass
class Row:
    """One program at one size: {library: medians in ns per operation} and {peer: ratios}.

    The three ratios are those of forward, backward, and both together.
    """

    program: str
    size: int
    counted: bool
    times: dict
    ratios: dict
    noise: dict


def check_gradients(libraries, program, x, w):
    """An error unless all libraries find the same gradients."""
    found = {lib.name: lib(program, x, w, LENGTH)[3] for lib in libraries}
    first = found[libraries[0].name]
    for name, got in found.items():
        for a, b in zip(first, got or first, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-9, err_msg=f"{program.__name__}: {name}")


def measure(libraries, name, program, size, rounds, counted=True):
    """The Row of a program: interleaved rounds in rotating order, medians."""
    x, w = operands(name, size)
    check_gradients(libraries, program, x, w)
    runs = {lib.name: [] for lib in libraries}
    for turn in range(rounds):
        k = turn % len(libraries)
        for lib in libraries[k:] + libraries[:k]:
            runs[lib.name].append(lib(program, x, w, LENGTH)[:3])
    times = {lib: [median(column) / LENGTH * 1e9 for column in zip(*found, strict=True)]
             for lib, found in runs.items()}
    ours, ratios, noise = runs[libraries[0].name], {}, {}
    for lib, found in runs.items():
        if lib in (libraries[0].name, "NumPy"):
            continue
        pairs = [[theirs[k] / mine[k] for theirs, mine in zip(found, ours, strict=True)]
                 for k in (0, 1)]
        pairs.append([(theirs[0] + theirs[1]) / (mine[0] + mine[1])
                      for theirs, mine in zip(found, ours, strict=True)])
        ratios[lib] = [median(p) for p in pairs]
        noise[lib] = [(quantiles(p)[2] - quantiles(p)[0]) / 2 for p in pairs]
    return Row(name, size, counted, times, ratios, noise)


def eager_rows(rounds):
    """All programs at all sizes, against the array libraries."""
    libraries = installed(Adjoint, Torch, Hips, Numpy)
    rows = []
    for size in SIZES:
        for name, program in (COUNTED | APART).items():
            if size or name not in {"sum(x)*w", "matmul"}:  # there is no sum or product of 0-d
                rows.append(measure(libraries, name, program, size, rounds, name in COUNTED))
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return libraries, rows


def value_rows(rounds):
    """Scalar values against micrograd, on Python floats."""
    if importlib.util.find_spec("adjoint.teach") is None:
        return [], []
    libraries = installed(lambda: Values("ad.teach.Value", "adjoint.teach"),
                          lambda: Values("micrograd", "micrograd.engine", "micrograd"))
    if len(libraries) < 2:
        return libraries, []
    programs = {"add": add, "mul": multiply, "div": divide, "relu": relu, "x*w+x": fused,
                "x*0.999": number}
    return libraries, [measure(libraries, name, program, 0, rounds)
                       for name, program in programs.items()]


# ---------------------------------------------------------------- the long chain

def long_chain(which, n):
    """Build, sweep and free n operations (`x * w`, 0-d) in this process; print a JSON object."""
    lib = {"adjoint": Adjoint, "torch": Torch, "HIPS autograd": Hips,
           "micrograd": lambda: Values("micrograd", "micrograd.engine", "micrograd")}[which]()
    lib(multiply, np.float64(0.5), np.float64(0.99999999), 10)  # what the first call sets up
    before = memory("VmRSS")
    try:
        build, sweep, free, _ = lib(multiply, np.float64(0.5), np.float64(0.99999999), n)
    except RecursionError:
        print(json.dumps({"failed": "RecursionError"}))
        return
    peak = memory("VmHWM") - before
    print(json.dumps({"build": build, "sweep": sweep, "free": free, "bytes": peak / n}))


def memory(field):
    """Bytes resident now (VmRSS) or at most (VmHWM); getrusage would count the parent process."""
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(s for s in status.read_text().splitlines() if s.startswith(field))
    return int(line.split()[1]) * 1024


def long_chains(names, n, repeats):
    """The chain in each library, in processes of their own, in turn; medians."""
    runs = {name: [] for name in names}
    for turn in range(repeats):
        for name in names:
            if turn and name not in {"adjoint", "torch"}:
                continue  # half a minute each
            out = subprocess.run([sys.executable, __file__, "--one-chain", name, str(n)],
                                 capture_output=True, text=True, check=True)
            runs[name].append(json.loads(out.stdout.splitlines()[-1]))
    return {name: found[0] if "failed" in found[0] else
            {key: median(r[key] for r in found) for key in found[0]}
            for name, found in runs.items()}


# ---------------------------------------------------------------- the report

def processor():
    """The processor's model, as the system names it."""
    info = Path("/proc/cpuinfo")
    fields = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines()
                  if ":" in line) if info.exists() else {}
    fields = {k.strip(): v.strip() for k, v in fields.items()}
    wide = ", AVX-512" if "avx512f" in fields.get("flags", "") else ""
    known = [f"{k} {fields[k]}" for k in ("cpu family", "model") if k in fields]
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name + (f" ({', '.join(known)}{wide})" if known else "")


def pin():
    """Stay on one core, the last that we may use; say which."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned (the system has no such call)"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"pinned to core {core}"


def sized(size):
    """How a size is printed."""
    return f"{size:,}" if size else "0-d"


def table(libraries, rows):
    """The Markdown table of `rows`; a ratio is the peer's time over ours."""
    peers = [lib.name for lib in libraries[1:] if lib.name != "NumPy"]
    heads = ["size", "program"] + [lib.name + (" fwd" if lib.name == "NumPy" else " fwd / bwd")
                                   for lib in libraries]
    heads += [f"{p} / {libraries[0].name} fwd, bwd (noise)" for p in peers]
    lines = [" | ".join(heads), " | ".join(["---", "---"] + ["--:"] * (len(heads) - 2))]
    for r in rows:
        cells = [sized(r.size), f"`{r.program}`" + ("" if r.counted else " (apart)")]
        cells += [f"{r.times[lib.name][0]:.0f}" + (f" / {r.times[lib.name][1]:.0f}"
                                                   if lib.name != "NumPy" else "")
                  for lib in libraries]
        cells += [", ".join(f"{ratio:.2f} (±{noise:.2f})" for ratio, noise in
                            list(zip(r.ratios[p], r.noise[p], strict=True))[:2]) for p in peers]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def means(rows, peer):
    """The geometric means over the counted programs: {size: (forward, backward, both)}."""
    sizes = dict.fromkeys(r.size for r in rows)
    return {size: tuple(geometric_mean([r.ratios[peer][k] for r in rows
                                        if r.size == size and r.counted]) for k in range(3))
            for size in sizes}


def verdict(got, wanted):
    """A figure beside its target."""
    return f"{got:.2f} (target {wanted}: {'reached' if got >= wanted else 'MISSED'})"


def summary(rows, peers):
    """The geometric means beside the targets, and the worst single figure."""
    lines = []
    if "torch" in peers:
        for size, both in means(rows, "torch").items():
            fwd, bwd = map(verdict, both[:2], TARGETS[size])
            lines.append(f"- {sized(size)}, torch / adjoint: forward {fwd}, backward {bwd}")
        ways = list(enumerate(("forward", "backward")))
        worst, what = min((r.ratios["torch"][k], f"{r.program} {way}, {sized(r.size)}")
                          for r in rows if r.counted for k, way in ways)
        lines.append(f"- the worst of these: {what}: {verdict(worst, FLOOR)}")
    if "HIPS autograd" in peers:
        for size, (fwd, bwd, _) in means(rows, "HIPS autograd").items():
            shown = f"{fwd:.2f}" if size == SIZES[-1] else verdict(fwd, HIPS_TARGET)
            lines.append(f"- {sized(size)}, HIPS autograd / adjoint: forward {shown}, "
                         f"backward {bwd:.2f}")
    return "\n".join(lines)


def report_values(libraries, rows):
    """The section on scalar values."""
    print("\n## Values on Python floats, ns per operation\n")
    if not rows:
        print("Left out: it needs `adjoint.teach` and micrograd.")
        return
    print(table(libraries, rows))
    fwd, bwd, together = means(rows, "micrograd")[0]
    print(f"\n- geometric means, micrograd / ad.teach.Value: forward {fwd:.2f}, "
          f"backward {bwd:.2f}, together {verdict(together, VALUE_TARGET)}")


def report_chains(chains, n):
    """The section on the long chain."""
    print(f"\n## A chain of {n:,} operations (`x * w`, 0-d), one process each\n")
    print("| library | build s | sweep s | free s | together s | peak memory, bytes/op |")
    print("|---|---|---|---|---|---|")
    for name, c in chains.items():
        if "failed" in c:
            print(f"| {name} | {c['failed']} | | | | |")
            continue
        whole = c["build"] + c["sweep"] + c["free"]
        print(f"| {name} | {c['build']:.2f} | {c['sweep']:.2f} | {c['free']:.2f} | {whole:.2f} "
              f"| {c['bytes']:.0f} |")


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(description="Time recorded operations beside other libraries.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a shorter chain")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--no-chain", action="store_true", help="leave out the long chain")
    parser.add_argument("--one-chain", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Measure and print."""
    warnings.simplefilter("ignore")
    options = parse()
    pinned = pin()
    if options.one_chain:
        long_chain(options.one_chain[0], int(options.one_chain[1]))
        return
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    libraries, rows = eager_rows(rounds)
    versions = ", ".join(f"{lib.name} {lib.version}" for lib in libraries)
    where = f"{processor()}; one thread, {pinned}; Python {platform.python_version()}; {versions}"
    print(f"# Eager operations\n\n{where}; {LENGTH} operations a program, {rounds} rounds\n")
    print(f"## ns per recorded operation, float64\n\n{table(libraries, rows)}\n")
    peers = [lib.name for lib in libraries[1:]]
    print(f"Geometric means over the programs not marked apart:\n\n{summary(rows, peers)}")
    value_libraries, values = value_rows(rounds)
    report_values(value_libraries, values)
    chains, n = {}, QUICK_CHAIN if options.quick else CHAIN
    if not options.no_chain:
        names = [lib.name for lib in libraries if lib.name != "NumPy"]
        names += ["micrograd"] if importlib.util.find_spec("micrograd") else []
        chains = long_chains(names, n, 1 if options.quick else 3)
        report_chains(chains, n)
    if options.json:
        options.json.write_text(json.dumps({
            "where": where, "rounds": rounds, "eager": [vars(r) for r in rows],
            "values": [vars(r) for r in values], "chain": {"n": n, **chains}}, indent=1))


if __name__ == "__main__":
    main()
