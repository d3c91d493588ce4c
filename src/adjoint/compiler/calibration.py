"""From which size on BLAS is faster than the code that we write: measured once per machine.

`prepare` is called before a program is planned. Where the program has a large product it times both
on square ones, and keeps the answer on disk beside the machine code; the number of threads, ours
and those that the environment gives BLAS, belong to the question. SciPy, which takes longer to
import than all of that, is asked only where NumPy's own BLAS is faster than our code.
"""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from math import prod
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval

from . import blas, cache, gemm
from .layout import body_of
from .loops import Loops
from .native import Library, host
from .program import CONTROL, ProgramBuilder
from .text import Module
from .threads import possible, processors

if TYPE_CHECKING:
    from collections.abc import Callable

    from .native import Target
    from .program import Program

SIDES = (512, 1024)     # of the square products that are timed
LARGE = SIDES[0] ** 3   # products of fewer multiplications are never asked about
ROUNDS = 4
MARGIN = 1.1            # how much faster BLAS must be
CLEAR = 1.15            # how far from that a time of two rounds is that needs no more of them
KEPT = b"calibration of products\n"
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
           "VECLIB_MAXIMUM_THREADS", "GOTO_NUM_THREADS")


class State:
    """One measures at a time; others wait for what it finds."""

    lock = Lock()


def prepare(program: Program, target: Target, threads: int = 0) -> None:
    """Know from which size on BLAS is used, if the program has a product for which that matters.

    Args:
        program: what will be compiled.
        target: the processor; code for another one than this machine's never uses BLAS.
        threads: how many our own code would use; 0 for as many as there are processors, whatever
            `set_threads` says, so that what is chosen does not depend on that.

    >>> from adjoint.compiler.calibration import prepare
    >>> from adjoint.compiler.native import host
    >>> from adjoint.compiler.program import Program
    >>> prepare(Program(), host())  # it has no product: nothing is measured
    """
    know(wanted(program), target, threads)


def know(dtypes: list[str], target: Target, threads: int = 0) -> None:
    """Know from which size on BLAS is used for products of these dtypes."""
    if target != host() or blas.is_never():
        return
    threads = threads or (processors() if possible() else 1)
    for dtype in dtypes:
        with State.lock:
            key = (dtype, target.vector_bytes)
            if key not in blas.limits:
                blas.limits[key] = limit_of(dtype, target, threads)


def asked(program: Program, target: Target) -> list[tuple[str, float]]:
    """What a program was told, which is compiled otherwise if it is told otherwise."""
    return [(dtype, blas.limit(dtype, target.vector_bytes)) for dtype in wanted(program)]


def as_before(told: list[tuple[str, float]], target: Target) -> bool:
    """Whether a program would be told the same now."""
    know([dtype for dtype, _ in told], target)
    return all(blas.limit(dtype, target.vector_bytes) == limit for dtype, limit in told)


def wanted(program: Program) -> list[str]:
    """The dtypes of the large products of a program, and of its loops."""
    found = dict[str, None]()
    for n in program.live():
        s = program.statements[n]
        if s.name in CONTROL:
            for k in CONTROL[s.name]:
                found.update(dict.fromkeys(wanted(body_of(s.parameters[k]))))
        elif gemm.suits(program, n):
            depth = sum([program.statements[x].known.shape[-1] for x in s.inputs[::2]])
            if prod(s.known.shape[-2:]) * depth >= LARGE:
                found[s.known.dtype.name] = None
    return list(found)


def limit_of(dtype: str, target: Target, threads: int) -> float:
    """The side from which on BLAS is used: as it was measured before, or now."""
    given = [f"{name}={os.environ.get(name, '')}" for name in THREADS]
    known = f"calibration 1, {platform.node()}, {os.cpu_count()} processors"
    text = "\n".join(["calibration of products", dtype, scipy(), str(threads), *given])
    key = cache.key_of(text, target, known)
    code = cache.found(key, known)
    if code is not None and code.startswith(KEPT):
        return float(code.removeprefix(KEPT).decode())  # without SciPy, which takes long to import
    side = measured(np.dtype(dtype), target, threads)
    cache.keep(key, known, KEPT + str(side).encode())
    return side


def scipy() -> str:
    """When SciPy was installed: its version takes longer to look up; empty without it."""
    spec = find_spec("scipy")
    return str(Path(spec.origin).stat().st_mtime_ns) if spec and spec.origin else ""


def measured(dtype: Any, target: Target, threads: int) -> float:
    """The smallest side from which on BLAS was faster, at each side that was timed."""
    best, ready = blas.NEVER, False
    for side in reversed(SIDES):
        ours = square(dtype, side, target, 0)
        if not ready and not is_faster(ours, multiplication(dtype, side), threads):
            break  # of NumPy's BLAS, which SciPy's will hardly differ from
        ready = ready or bool(blas.address(blas.SYMBOLS[dtype.name]))
        if not ready or not is_faster(ours, square(dtype, side, target, side), threads):
            break
        best = side
    return best


def is_faster(ours: Callable[[], object], theirs: Callable[[], object], threads: int) -> bool:
    """Whether theirs is worth using where ours would have so many threads."""
    taken = compared(ours, theirs, MARGIN * threads)
    return taken[0] >= taken[1] * MARGIN * threads


def compared(ours: Callable[[], object], theirs: Callable[[], object],
             border: float = MARGIN) -> tuple[float, float]:
    """The least time of each, taken in turn, until it is clear on which side of the border."""
    times: tuple[list[float], list[float]] = [], []
    for k in range(ROUNDS):
        for f, taken in zip((ours, theirs), times, strict=True):
            start = perf_counter()
            f()
            taken.append(perf_counter() - start)
        ratio = min(times[0]) / (min(times[1]) * border)
        if k and not 1 / CLEAR < ratio < CLEAR:
            break  # the first round touches new memory
    return min(times[0]), min(times[1])


def multiplication(dtype: Any, side: int) -> Callable[[], object]:
    """The square product as NumPy computes it."""
    x, out = np.ones((side, side), dtype), np.empty((side, side), dtype)
    return lambda: np.matmul(x, x, out=out)


def square(dtype: Any, side: int, target: Target, limit: int) -> Running:
    """A square product that runs: by BLAS if its side reaches a limit that is not 0."""
    key = dtype.name, target.vector_bytes
    before = blas.limits.get(key)
    blas.limits[key] = limit or blas.NEVER  # other threads plan by the other limits meanwhile
    try:
        return made(dtype, side, target)
    finally:
        if before is None:
            del blas.limits[key]
        else:
            blas.limits[key] = before


def made(dtype: Any, side: int, target: Target) -> Running:
    """A square product, compiled and bound to arrays."""
    b = ProgramBuilder()
    x, z = b.input(aval((side, side), dtype)), b.input(aval((side, side), dtype))
    n = b.dot([(x, z)]).number
    module = Module(target.fused)
    kernel = Loops(b.program, {x.number, z.number}, module, width=0)
    gemm.write(kernel, n, [n], target.vector_bytes)
    size = gemm.workspace(b.program, n, kernel.stored, target.vector_bytes, target.fused)
    arrays = {x.number: np.ones((side, side), dtype), z.number: np.ones((side, side), dtype),
              n: np.empty((side, side), dtype), gemm.PACK: np.empty(size + 1, np.uint8)}
    name, order = kernel.name(), list(kernel.buffers)
    lines = [f"  %s{j} = getelementptr ptr, ptr %table, i64 {j}\n  %b{j} = load ptr, ptr %s{j}"
             for j in range(len(order))]
    given = ", ".join(f"ptr %b{j}" for j in range(len(order)))
    module.define("product", "\n".join([
        "define i64 @product(ptr %table, ptr %work) #0 {", *lines,
        f"  %r = call i64 @{name}({given})", "  ret i64 %r", "}"]))
    library = Library(module.text(target.attributes()), module.externals, target)
    table = np.array([arrays[i].ctypes.data for i in order], np.uintp)
    return Running(library, arrays, table)


class Running:
    """A compiled product; called, it runs."""

    def __init__(self, library: Library, arrays: dict[int, Any], table: Any) -> None:
        self.library, self.arrays, self.table = library, arrays, table
        self.function, self.place = library.function("product"), table.ctypes.data

    def __call__(self) -> None:
        """Run it."""
        self.function(self.place, self.place)


def after_fork() -> None:
    """A lock that another thread held when the process forked is free in the child."""
    State.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork)
