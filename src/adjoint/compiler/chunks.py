"""Which kernels are cut into chunks that several threads compute, and how.

A kernel is cut along its outermost axis if it takes long enough. The size of a chunk depends on the
kernel only, so the results have the same bits on any number of threads, one included. What a chunk
sums over the axis that is cut is a *partial* result: each chunk has its own, and they are combined
in the order of the chunks.

Start reading at `cut_of`; ``parts.py`` writes the code.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from .functions_ir import FORMULAS
from .gemm import fewest, suits, units, workspace
from .roots import COSTS, POINTWISE

if TYPE_CHECKING:
    from collections.abc import Generator

    from .native import Target
    from .program import Program
    from .schedule import Group, Pass, Schedule

START = 20e-6    # seconds of a kernel from which on it is cut: shorter ones were not faster
PIECE = 4e-6     # seconds of a chunk at least
MOST = 128       # chunks of a kernel
FEW = 16         # chunks that have partial results of many bytes
MANY = 1024      # which that is
ALIGNED = 64     # elements: chunks of an axis over lanes are whole vectors
LINE = 64        # bytes
# Seconds, for four bytes: an operation of cost 1; what is read or written; a product and its sum.
OPERATION, MOVED, PRODUCT = 0.012e-9, 0.03e-9, 0.017e-9
ELEMENT = {"copy": 0.1e-9, "reduce": 0.2e-9, "scan": 0.5e-9}  # of statements by themselves
PARTIAL = 2e-9   # seconds of a chunk for each byte of its partial results, so that these are cheap


class Cut(NamedTuple):
    """How an axis of so many turns, ``size``, is cut: chunks of ``chunk``, ``many`` of them.

    A rest that is shorter than a vector belongs to the last one.
    A product has no ``variable``, but units of its own, and scratch memory for each thread.
    """

    variable: str
    size: int
    chunk: int
    many: int
    partial: tuple[int, ...]  # the roots that a chunk has partial results of
    scratch: int = 0

    def show(self) -> str:
        """The cut in words.

        >>> from adjoint.compiler.chunks import Cut
        >>> Cut("i0", 100, 30, 4, (7,)).show()
        'in 4 chunks of 30 of 100; partial: %7'
        """
        told = f"in {self.many} chunks of {self.chunk} of {self.size}"
        return told + (f"; partial: {', '.join(f'%{n}' for n in self.partial)}"
                       if self.partial else "")


class Sizes:
    """What decides how large chunks are; tests make them small."""

    whole = False  # whether nothing is cut
    small = False  # whether everything is cut that can be, into the smallest chunks


sizes = Sizes()


@contextmanager
def forced(*, whole: bool = False, small: bool = False) -> Generator[None]:
    """Programs that are compiled inside are not cut at all, or wherever that is possible.

    >>> from adjoint.compiler.chunks import forced, sizes
    >>> with forced(small=True):
    ...     print(sizes.small)
    True
    """
    before = sizes.whole, sizes.small
    sizes.whole, sizes.small = whole, small
    try:
        yield
    finally:
        sizes.whole, sizes.small = before


def cut_of(schedule: Schedule, group: Group, target: Target) -> Cut | None:
    """How the kernel of a group is cut; None if one thread computes it.

    >>> from adjoint.compiler.chunks import cut_of
    >>> from adjoint.compiler.fuse import fused
    >>> from adjoint.compiler.native import BASELINE
    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.core.node import aval_of
    >>> def cut_for(shape):
    ...     b = ProgramBuilder()
    ...     x = b.input(aval_of(np.ones(shape)))
    ...     b.program.outputs = [b.reduce("add", b.elementwise("exp", x), (0, 1)).number]
    ...     schedule = fused(b.program)
    ...     return cut_of(schedule, schedule.groups[0], BASELINE)
    >>> print(cut_for((10, 10)))
    None
    >>> cut_for((1000, 100))[-2:]  # the sum is partial; no scratch memory is needed
    ((2,), 0)
    """
    if sizes.whole:
        return None
    if group.kind == "dot" and suits(schedule.program, group.roots[0]):
        return product(schedule, group, target)
    if group.kind in ELEMENT:
        return alone(schedule, group.roots[0])
    return nest(schedule, group) if group.kind == "nest" else None


def distance(schedule: Schedule, n: int) -> int:
    """The bytes from the partial result of one chunk to that of the next."""
    size = schedule.extent(n) * schedule.program.statements[n].known.dtype.itemsize
    return -(-size // LINE) * LINE


# ---- loops

def nest(schedule: Schedule, group: Group) -> Cut | None:
    """How loops are cut: along the first axis that has more than one turn."""
    outer = prod(group.outer) > 1
    if not outer and (len(group.passes) > 1 or schedule.temporaries & {*group.roots}):
        return None  # one pass needs all of another
    space = group.outer if outer else group.passes[0].space
    axes = [d for d, n in enumerate(space) if n > 1]
    if not axes:
        return None
    axis, lanes = axes[0], not outer and len(axes) == 1
    partial: list[int] = []
    for n in group.roots:
        s = schedule.program.statements[n]
        over = s.name == "reduce" and (group.flat or axis in s.parameters[1])
        if over:
            partial.append(n)
        if n in schedule.registers if over else schedule.carried(n):
            return None
    seconds = sum([seconds_of(schedule, p) for p in group.passes])
    known = [schedule.program.statements[n].known for n in partial]
    size = sum([schedule.extent(n) * a.dtype.itemsize
                for n, a in zip(partial, known, strict=True)])
    at_once = max(group.rows, 1)
    piece = max(PIECE, PARTIAL * size * at_once, seconds / FEW if size > MANY else 0.0)
    return cut(f"i{axis}", space[axis], ALIGNED if lanes else at_once, seconds, piece,
               tuple(partial))


def cut(variable: str, size: int, unit: int, seconds: float, piece: float,
        partial: tuple[int, ...] = (), scratch: int = 0) -> Cut | None:
    """Chunks of whole units, of about a time each; what is left over is one more if it is a unit.

    >>> from adjoint.compiler.chunks import cut
    >>> cut("i0", 1000, 64, 100e-6, 20e-6)[1:4]
    (1000, 256, 4)
    >>> cut("i0", 1000, 64, 9e-6, 4e-6) is None  # it is too short
    True
    """
    most = min(int(seconds / piece), MOST) if seconds >= START else 0
    if sizes.small:
        most = MOST
    if most < 2 or size < 2 * unit:
        return None
    chunk = -(-size // most)
    chunk = -(-chunk // unit) * unit
    count = size // chunk + (size % chunk >= unit)
    return Cut(variable, size, chunk, count, partial, scratch) if count > 1 else None


def seconds_of(schedule: Schedule, pass_: Pass) -> float:
    """About how long the loops of a pass take: what they compute, and what they read and write."""
    statements, turns, total = schedule.program.statements, prod(pass_.space), 0.0
    seen, waiting = {*pass_.roots}, [*pass_.roots]
    while waiting:
        s, n = statements[waiting[-1]], waiting.pop()
        if isinstance(s.known, tuple):
            continue
        own = n in pass_.roots
        size = min(prod(s.known.shape), turns) * s.known.dtype.itemsize / 4
        if n in schedule.stored:
            total += MOVED * size
        if own or n not in schedule.stored:
            if s.name == "reduce":
                size = turns * s.known.dtype.itemsize / 4
            total += OPERATION * size * price(s.name, s.parameters)
            waiting += [i for i in s.inputs if i not in seen]
            seen.update(s.inputs)
    return total


def price(name: str, parameters: tuple[object, ...]) -> int:
    """What one element of a statement costs."""
    if name == "elementwise":
        return COSTS.get(str(parameters[0]), 1) * (2 if parameters[0] in FORMULAS else 1)
    return 4 if name == "pick" else int(name in POINTWISE | {"reduce", "pad"})


def alone(schedule: Schedule, n: int) -> Cut | None:
    """How the loops of one statement are cut: along its first axis, not the one that it follows."""
    s = schedule.program.statements[n]
    shape = schedule.program.statements[s.inputs[0]].known.shape
    along = () if s.name == "copy" else (
        s.parameters[1] if s.name == "reduce" else (s.parameters[1],))
    kept = [d for d, size in enumerate(shape) if size > 1 and d not in along]
    if not kept or not prod(shape):
        return None
    seconds = prod(shape) * ELEMENT[s.name]
    return cut(f"i{kept[0]}", shape[kept[0]], ALIGNED if len(kept) == 1 else 1, seconds, PIECE)


# ---- products

def product(schedule: Schedule, group: Group, target: Target) -> Cut | None:
    """How a product is cut: into whole panels of tiles."""
    program, n = schedule.program, group.roots[0]
    given = (program, n, schedule.stored - {*group.roots}, target.vector_bytes, target.fused,
             schedule.made(group))
    size, least = units(*given), fewest(*given)
    seconds = multiplications(program, n) * PRODUCT * program.statements[n].known.dtype.itemsize / 4
    if not least or not size or (size < 2 * least and not sizes.small):
        return None
    piece = max(PIECE, seconds * least / size)
    return cut("", size, 1, seconds, piece, scratch=workspace(*given))


def multiplications(program: Program, n: int) -> int:
    """How many products of numbers a dot sums."""
    s = program.statements[n]
    return prod(s.known.shape) * sum([program.statements[x].known.shape[-1]
                                      for x in s.inputs[::2]])
