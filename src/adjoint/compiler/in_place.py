"""Which results may be written over what they are made of.

A statement takes the memory of another if nobody reads that one later, and if its own kernel reads
it at the very index that is written, in the same pass, before the write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .roots import POINTWISE
from .schedule import straight
from .views import substituted

if TYPE_CHECKING:
    from adjoint.ops.loops import Index

    from .schedule import Schedule

UNKNOWN = (0, ((-1, 1),))  # an index that is loaded
MOST = 400  # statements that are looked at for one decision


def in_place(schedule: Schedule, old: int, n: int) -> bool:
    """Whether the value of ``n`` may be stored in the memory of ``old``, which nothing else owns.

    >>> from adjoint.compiler.fuse import fused
    >>> from adjoint.compiler.in_place import in_place
    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.core.node import aval_of
    >>> b = ProgramBuilder()
    >>> x = b.input(aval_of(np.ones(4)))
    >>> b.program.outputs = [b.elementwise("exp", x).number, b.scan("add", x, 0).number]
    >>> [in_place(fused(b.program), 0, n) for n in b.program.outputs]
    [False, False]
    >>> b.program.outputs = b.program.outputs[:1]
    >>> in_place(fused(b.program), 0, 1)
    True
    """
    k, p = schedule.at[n]
    if any(old == x for x, _ in schedule.aliases.values()):  # is read in another shape
        return False
    known, there = (schedule.program.statements[m].known for m in (n, old))
    if (known.shape, known.dtype) != (there.shape, there.dtype):
        return False
    last = max(schedule.readers.get(old, ()), default=-1)
    if last < k:
        return schedule.at.get(old, (-1, 0))[0] < k
    group = schedule.groups[k]
    if last > k or schedule.at.get(old, (-1, 0))[0] == k or group.kind not in {"nest", "dot"}:
        return False
    if schedule.program.statements[n].name not in POINTWISE:
        return False
    if readings(schedule, old, k, [n]) != {straight(known.shape)}:
        return False
    for q, pass_ in enumerate(group.passes):  # earlier ones read before the turn that writes
        found = readings(schedule, old, k, [r for r in pass_.roots if r != n])
        if not found <= {straight(known.shape)} or (found and q > p):
            return False
    return True


def readings(schedule: Schedule, old: int, k: int, roots: list[int]) -> set[Index]:
    """The indices at which roots of group ``k`` read ``old``, by the variables of their space."""
    statements, found = schedule.program.statements, set[Any]()
    seen, waiting = set[Any](), list[Any]()
    for r in roots:
        index = straight(schedule.space(r))
        if statements[r].name == "dot":  # reads rows and columns
            index = (UNKNOWN,) * len(index)
        waiting.append((r, index))
    while waiting:
        n, index = waiting.pop()
        if (n, index) in seen:
            continue
        seen.add((n, index))
        if n == old:
            found.add(index)
        elif len(seen) > MOST:
            return {(UNKNOWN,)}
        elif n in roots or n not in schedule.at or (
                schedule.at[n][0] == k and statements[n].name in POINTWISE):
            waiting += read_by(schedule, n, index)  # roots may be computed again
    return found


def read_by(schedule: Schedule, n: int, index: Index) -> list[tuple[int, Index]]:
    """What the value of a statement at an index is made of."""
    s, statements = schedule.program.statements[n], schedule.program.statements
    if s.name == "view":
        return [(s.inputs[0], tuple([substituted(e, index) if UNKNOWN not in index else UNKNOWN
                                     for e in s.parameters[0]]))]
    if s.name in {"pick", "pad"}:
        rank = len(statements[s.inputs[0]].known.shape)
        return [(s.inputs[0], (UNKNOWN,) * rank), *[(i, index) for i in s.inputs[1:]]]
    return [(i, index) for i in s.inputs]
