"""Rules of rows: of labels that are one place in each, and of softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .algebra import is_zero
from .contractions import dropped
from .editor import rule
from .facts import between
from .moves import plus_zero
from .views import normal

if TYPE_CHECKING:
    from adjoint.ops.loops import Index, Shape

    from .editor import Editor
    from .program import Statement

INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)
LIMITS = np.iinfo(INT32)


@rule("reduce", says="the sum over j of select(j == label, x, 0) = x")
def sum_of_one(e: Editor, s: Statement) -> int | None:
    """A sum of which all terms but one are 0, where that one is certainly there."""
    op, axes = s.parameters
    choice = e.statements[s.inputs[0]]
    if op != "add" or choice.name != "select" or not is_zero(e, choice.inputs[2]) or (
            e.function(choice.inputs[0]) != "equal"):
        return None
    shape, x = choice.known.shape, choice.inputs[1]
    for place, label in (pair := e.statements[choice.inputs[0]].inputs, pair[::-1]):
        i, limits = e.statements[place], between(e, label)
        if i.name != "iota" or limits is None:
            continue
        d = i.parameters[1]
        if d in axes and limits[0] >= 0 and limits[1] < shape[d] and (
                still(e, label, d) and still(e, x, d)):
            rest = tuple([a - (a > d) for a in axes if a != d])
            found = dropped(e, x, (d,))
            return e.reduce("add", found, rest) if rest else plus_zero(e, found)
    return None


def still(e: Editor, n: int, d: int) -> bool:
    """Whether a statement certainly does not change along an axis."""
    s = e.statements[n]
    return s.name == "view" and all(axis != d for _, terms in s.parameters[0] for axis, _ in terms)


@rule("equal", "not_equal", says="indices that fit are compared as int32")
def narrow_indices(e: Editor, s: Statement) -> int | None:
    """A comparison of places along an axis, of which a vector holds twice as many as int32."""
    single: list[int] = []
    for i in s.inputs:
        inner, limits = e.statements[i], between(e, i)
        if e.known(i).dtype != INT64 or limits is None or not (
                LIMITS.min <= limits[0] and limits[1] <= LIMITS.max):
            return None
        if inner.name == "iota":
            single.append(e.iota(inner.parameters[0], inner.parameters[1], INT32))
        elif inner.name == "view" and e.known(inner.inputs[0]).size < s.known.size:
            single.append(e.view(e.cast(inner.inputs[0], INT32), *inner.parameters))
        else:
            return None
    return e.map(s.parameters[0], *single)


@rule("exp", says="exp(x - log(s)) = exp(x) * (1 / s) where s is the sum of exp(x), and x <= 0")
def exponential_of_logarithm(e: Editor, s: Statement) -> int | None:
    """A softmax from its logarithm, by exponentials that the sum has computed already.

    Nearer to the truth than what it replaces, whose error grows with ``|x - log(s)|``. x is
    what is left of numbers from which their maximum was taken, so that s is 1 at least, and
    finite: its reciprocal is exact to half a unit.
    """
    difference = e.statements[s.inputs[0]]
    if e.function(s.inputs[0]) != "subtract":
        return None
    x, logarithm = difference.inputs
    seen = e.statements[logarithm]
    if seen.name != "view" or e.function(seen.inputs[0]) != "log":
        return None
    total = e.statements[seen.inputs[0]].inputs[0]
    summed = e.statements[total]
    if summed.name != "reduce" or summed.parameters[0] != "add" or (
            e.function(summed.inputs[0]) != "exp") or e.statements[summed.inputs[0]].inputs != (x,):
        return None
    axes, index = summed.parameters[1], seen.parameters[0]
    if index != kept(s.known.shape, axes) or not centred(e, x, axes):
        return None
    share = e.map("divide", e.like(total, 1), total)
    return e.map("multiply", summed.inputs[0], e.view(share, index, s.known.shape))


def kept(shape: Shape, axes: Shape) -> Index:
    """How what was reduced over axes is seen at the shape that it had."""
    return normal(tuple([(0, ((d, 1),)) for d in range(len(shape)) if d not in axes]), shape)


def centred(e: Editor, x: int, axes: Shape) -> bool:
    """Whether the maximum along axes was taken from something."""
    if e.function(x) != "subtract":
        return False
    whole, top = e.statements[x].inputs
    seen = e.statements[top]
    if seen.name != "view" or seen.parameters[0] != kept(seen.known.shape, axes):
        return False
    maximum = e.statements[seen.inputs[0]]
    return maximum[:3] == ("reduce", (whole,), ("maximum", axes))
