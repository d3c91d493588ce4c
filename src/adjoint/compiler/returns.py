"""Ways back: what was selected from an array, and the statement that puts it where it was.

Selecting is a chain of views, picks and copies; on the way back stand views, copies, pads,
scatters and sums. ``d`` is what was selected, and the question is of what ``D``: each element
``d[j]`` is ``D[i]`` at the place ``i`` to which j goes. Then ``c / d`` put back is what c is
there, ``/ D``.
"""

from __future__ import annotations

from itertools import islice, permutations
from typing import TYPE_CHECKING

from adjoint.ops.loops import straight

from .contractions import dropped, still
from .moves import flat_place, places, unflattened
from .views import normal

if TYPE_CHECKING:
    from adjoint.ops.loops import Index, Shape

    from .editor import Editor
    from .program import Statement

SELECTS = {"view", "pick", "copy"}
ORDERS = 24  # in which axes are tried that a slice has left out
LINEAR = {"view", "copy", "pad", "scatter_add"}  # the sum of two is that of each


def origin(e: Editor, n: int) -> int:
    """What elements were selected from, at the end of the chain."""
    while e.statements[n].name in SELECTS:
        n = e.statements[n].inputs[0]
    return n


def moved(e: Editor, s: Statement, x: int) -> int:
    """A statement that moves elements, of another operand."""
    return e.view(x, *s.parameters) if s.name == "view" else e.made(
        s.name, (x, *s.inputs[1:]), s.parameters, s.known)


def selected_alike(e: Editor, n: int, source: int, value: int) -> int:
    """What ``n`` selects from ``source``, of ``value`` in its place."""
    s = e.statements[n]
    return value if n == source else moved(e, s, selected_alike(e, s.inputs[0], source, value))


def returned(e: Editor, s: Statement, d: int) -> int | None:
    """``D`` for a statement that puts d back, if it is something that was there already."""
    found = None
    if s.name in {"view", "copy"}:
        found = moved(e, s, d)
    elif s.name == "pad" and s.parameters[2] == 0:
        found = unpadded(e, d, s.parameters[0], s.parameters[1])
    elif s.name == "scatter_add":
        found = unscattered(e, s, d)
    elif s.name == "reduce" and s.parameters[0] == "add":
        seen, axes = e.statements[d], s.parameters[1]
        if seen.name == "view" and all(still(seen.parameters[0], a) for a in axes):
            found = dropped(e, d, axes)
    return found if found is not None and e.known(found).shape == s.known.shape else None


def unscattered(e: Editor, s: Statement, d: int) -> int | None:
    """Where a scatter adds to, if that is where a pick took from."""
    picked = e.statements[d]
    if picked.name == "pick":
        return picked.inputs[0] if picked.inputs[1:] == s.inputs[1:] else None
    index = places(e, s.inputs[1:])
    return None if index is None else unpadded(e, d, index, s.known.shape)


def unpadded(e: Editor, d: int, placed: Index, shape: Shape) -> int | None:
    """Of what a slice was taken that a pad puts back.

    Along axes that the slice has left out any step would do: they get those that are missing
    between the others in the flat order, so that what was a reshape is one.
    """
    s, inner = e.statements[d], e.known(d).shape
    x, index = (s.inputs[0], s.parameters[0]) if s.name == "view" else (d, straight(len(inner)))
    operand, placed = e.known(x).shape, normal(placed, inner)
    if operand == shape and normal(index, inner) == placed:
        return x
    start, along = flat_place(index, operand, len(inner))
    steps: list[int | None] = [None] * len(shape)
    met: set[int] = set()
    for a, (_, terms) in enumerate(placed):
        for d_inner, k in terms:
            if len(terms) > 1 or d_inner in met or along[d_inner] % k:
                return None
            met.add(d_inner)
            steps[a] = along[d_inner] // k
    free = [a for a, k in enumerate(steps) if k is None and shape[a] > 1]
    for order in islice(permutations(free[::-1]), ORDERS):
        filled = between_the_others(steps, shape, order)
        first = start - sum(k * offset for k, (offset, _) in zip(filled, placed, strict=True))
        found = unflattened(first, filled, shape, operand)
        if found is not None:
            return e.view(x, found, shape)
    return None


def between_the_others(steps: list[int | None], shape: Shape, order: tuple[int, ...]) -> list[int]:
    """Steps in the flat order, with those that are None put where they fit, in their order."""
    known = sorted((abs(k), n) for k, n in zip(steps, shape, strict=True) if k and n > 1)
    found, free, here = [k or 0 for k in steps], list(order), 1
    for step, size in [*known, (None, 1)]:
        while free and (step is None or here * shape[free[0]] <= step):
            a = free.pop(0)
            found[a], here = here, here * shape[a]
        here = here if step is None else step * size
    return found
