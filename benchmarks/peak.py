"""How near the training steps of `compiled.py` come to what one core can do.

    python benchmarks/peak.py

The peak is measured: twelve independent chains of fused multiply-adds on the widest vectors, all in
registers, so that neither memory nor latency counts. A training step of a perceptron whose layers
map i numbers to o, on a batch of b, takes 2 b i o operations for the values of a layer, as many for
the gradient of its weights, and, but for the first layer, as many for the gradient of its input.
What lacks to the peak is everything else: the loss, activations, packing, the memory.
The two are measured in turns, since the clock of a shared processor changes from second to second.
"""

import os

for _name in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{_name}_NUM_THREADS"] = "1"

import ctypes
import time
from itertools import pairwise
from statistics import median

import workloads
from compiled import adjoint_peer

from adjoint.compiler.native import Library, host

CHAINS, TURNS, ROUNDS = 12, 1_000_000, 15
STEPS = {"4": (workloads.digits_network, 128, (784, 512, 512, 10)),
         "5": (workloads.large_network, 512, (784, 2048, 2048, 10))}
now = time.perf_counter


def chains(lanes):
    """The text of a function that runs the chains on vectors of ``lanes`` numbers."""
    vector, names = f"<{lanes} x float>", range(CHAINS)
    fma = f"@llvm.fma.v{lanes}f32"
    return "\n".join([
        f"declare {vector} {fma}({vector}, {vector}, {vector})",
        "define i64 @peak(ptr %data, ptr %work) #0 {", "start:",
        f"  %x = load {vector}, ptr %data, align 4", "  br label %turn", "turn:",
        "  %i = phi i64 [0, %start], [%j, %turn]",
        *[f"  %a{n} = phi {vector} [%x, %start], [%b{n}, %turn]" for n in names],
        *[f"  %b{n} = call {vector} {fma}({vector} %x, {vector} %x, {vector} %a{n})"
          for n in names],
        "  %j = add i64 %i, 1", f"  %more = icmp ult i64 %j, {TURNS}",
        "  br i1 %more, label %turn, label %end", "end:",
        *[f"  store {vector} %b{n}, ptr %work, align 4" for n in names], "  ret i64 0", "}",
        host().attributes()])


def peak():
    """A call that takes the operations it returns."""
    lanes = host().vector_bytes // 4
    library = Library(chains(lanes), (), host())
    run, memory = library.function("peak"), (ctypes.c_float * lanes)(*[0.5] * lanes)

    def call():
        run(ctypes.addressof(memory), ctypes.addressof(memory))
        return 2 * lanes * CHAINS * TURNS
    vars(call)["library"] = library  # which owns the code
    return call


def operations(batch, sizes):
    """Those of the products of matrices in a training step."""
    return sum(2 * batch * i * o * (3 if layer else 2)
               for layer, (i, o) in enumerate(pairwise(sizes)))


def rate(call, count=None):
    """Operations a second, in thousands of millions."""
    before = now()
    done = call()
    return (count or done) / (now() - before) / 1e9


def main():
    """Print the table."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    most = peak()
    print("| workload | peak, GFLOP/s | adjoint | part of the peak |\n|---|--:|--:|--:|")
    for name, (make, batch, sizes) in STEPS.items():
        step = make(adjoint_peer())
        call = step[0] if isinstance(step, tuple) else step
        for _ in range(3):
            call()
        pairs = [(rate(most), rate(call, operations(batch, sizes))) for _ in range(ROUNDS)]
        print(f"| {name} | {median(a for a, _ in pairs):.0f} | {median(b for _, b in pairs):.0f} | "
              f"{median(b / a for a, b in pairs):.0%} |")


if __name__ == "__main__":
    main()
