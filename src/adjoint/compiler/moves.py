"""Rules of the statements that move elements: views, pads, picks, scatters and copies."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from adjoint.core.node import aval
from adjoint.ops.loops import split

from .editor import rule, same_bits
from .facts import affine, never_minus_zero
from .views import composed, extent, normal, outside

if TYPE_CHECKING:
    from adjoint.ops.loops import Axis, Index, Shape

    from .editor import Editor
    from .program import Statement


# ---- views

@rule("view", says="a view of an index along an axis is such an index")
def index_seen(e: Editor, s: Statement) -> int | None:
    """The ramp of an iota through a view that leaves it a ramp."""
    base = e.statements[s.inputs[0]]
    if base.name != "iota":
        return None
    index, shape = s.parameters
    offset, terms = index[base.parameters[1]]
    if offset or (terms and terms != ((terms[0][0], 1),)):
        return None
    if not terms:
        return e.splat(base.known.dtype.type(0), shape)
    return e.iota(shape, terms[0][0], base.known.dtype)


@rule("view", says="a slice of what was padded is what was put there, or the fill")
def view_of_pad(e: Editor, s: Statement) -> int | None:
    """A view that reads only inside, or only outside, of what a pad wrote."""
    base = e.statements[s.inputs[0]]
    if base.name != "pad" or not s.known.size or not e.known(base.inputs[0]).size:
        return None
    index, shape = s.parameters
    placed, _, fill = base.parameters
    inner = e.known(base.inputs[0]).shape
    found: dict[int, Axis] = {}
    for entry, (offset, terms) in zip(index, placed, strict=True):
        low, high = extent(entry, shape)
        first, last = extent((offset, terms), inner)
        if high < first or low > last:
            return e.splat(s.known.dtype.type(fill), shape)
        if not first <= low <= high <= last or (terms and terms[0][1] != 1) or len(terms) > 1:
            return None
        if terms:
            found[terms[0][0]] = entry[0] - offset, entry[1]
    if any(d not in found and n != 1 for d, n in enumerate(inner)):
        return None
    return e.view(base.inputs[0],
                  tuple([found.get(d, (0, ())) for d in range(len(inner))]), shape)


@rule("view", says="a view that splits again what a copy has merged is a view of the operand")
def view_of_copy(e: Editor, s: Statement) -> int | None:
    """A reshape that is undone: places in the flat order, read as places of the operand."""
    base = e.statements[s.inputs[0]]
    if base.name != "copy" or not s.known.size:
        return None
    index, shape = s.parameters
    start, steps = flat_place(index, base.known.shape, len(shape))
    found = unflattened(start, steps, shape, e.known(base.inputs[0]).shape)
    return None if found is None else e.view(base.inputs[0], found, shape)


def strides_of(shape: Shape) -> list[int]:
    """Elements between neighbours along each axis, in C order."""
    return [prod(shape[d + 1:]) for d in range(len(shape))]


def flat_place(index: Index, operand: Shape, axes: int) -> tuple[int, list[int]]:
    """Where a view reads in the flat order of its operand: a start, and a step for each axis."""
    start, steps = 0, [0] * axes
    for stride, (offset, terms) in zip(strides_of(operand), index, strict=True):
        start += stride * offset
        for d, k in terms:
            steps[d] += stride * k
    return start, steps


def unflattened(start: int, steps: list[int], shape: Shape, operand: Shape) -> Index | None:
    """The index that reads these places of the flat order; None if it would not be affine."""
    terms: list[list[tuple[int, int]]] = [[] for _ in operand]
    strides = strides_of(operand)
    for d, step in enumerate(steps):
        if shape[d] == 1 or not step:
            continue
        axis = next((a for a, k in enumerate(strides) if operand[a] > 1 and step % k == 0), None)
        if axis is None:
            return None
        terms[axis].append((d, step // strides[axis]))
    index: list[Axis] = []
    for stride, along in zip(strides, terms, strict=True):
        index.append((start // stride, tuple(along)))
        start %= stride
    return None if outside(tuple(index), operand, shape) else tuple(index)


# ---- pads

@rule("pad", says="a pad that covers everything is a view; of the fill it is the fill")
def pad_that_covers(e: Editor, s: Statement) -> int | None:
    """A pad that only turns axes, or that writes what is there already."""
    index, shape, fill = s.parameters
    (x,) = s.inputs
    if x in e.numbers and same_bits(e.numbers[x], s.known.dtype.type(fill)):
        return e.splat(s.known.dtype.type(fill), shape)
    inner = e.known(x).shape
    if not prod(inner):
        return e.splat(s.known.dtype.type(fill), shape)
    if prod(shape) != prod(inner):
        return None
    back: dict[int, Axis] = {}
    for d, (offset, terms) in enumerate(normal(index, inner)):
        if len(terms) > 1 or (terms and terms[0][1] not in {1, -1}):
            return None
        if terms:
            axis, step = terms[0]
            back[axis] = (-offset * step, ((d, step),))
    return e.view(x, tuple([back.get(a, (0, ())) for a in range(len(inner))]), shape)


@rule("pad", says="a pad of a pad with the same fill is one pad")
def pad_of_pad(e: Editor, s: Statement) -> int | None:
    """Two pads, the inner one placed inside the outer."""
    inner = e.statements[s.inputs[0]]
    index, shape, fill = s.parameters
    if inner.name != "pad" or not same_bits(s.known.dtype.type(fill),
                                            s.known.dtype.type(inner.parameters[2])):
        return None
    return padded(e, inner.inputs[0], composed(index, inner.parameters[0]), shape, fill)


def padded(e: Editor, x: int, index: Index, shape: Shape, fill: Any) -> int:
    """A pad, through the rules."""
    return e.made("pad", (x,), (index, shape, fill), aval(shape, e.known(x).dtype))


# ---- picks and scatters

def places(e: Editor, indices: tuple[int, ...]) -> Index | None:
    """Index arrays as an index, if all are affine."""
    found: list[Axis] = []
    for i in indices:
        entry = affine(e, i)
        if entry is None:
            return None
        found.append(entry)
    return tuple(found)


@rule("pick", says="a pick at known places is a view")
def pick_at_known_places(e: Editor, s: Statement) -> int | None:
    """Elements at indices that are affine where they stand."""
    x, *indices = s.inputs
    index = places(e, tuple(indices))
    if index is None or outside(index, e.known(x).shape, s.known.shape):
        return None
    return e.view(x, index, s.known.shape)


@rule("scatter_add", says="a scatter to known places is a pad")
def scatter_to_known_places(e: Editor, s: Statement) -> int | None:
    """Elements added at indices that are affine, no two to one place."""
    x, *indices = s.inputs
    (shape,) = s.parameters
    index = places(e, tuple(indices))
    if index is None or outside(index, shape, e.known(x).shape) or (
            not apart(index, e.known(x).shape)):
        return None
    return padded(e, plus_zero(e, x), index, shape, 0)


def apart(index: Index, shape: Shape) -> bool:
    """Whether certainly no two places are one: each axis moves along an axis of its own."""
    alone = {terms[0][0] for _, terms in index if len(terms) == 1}
    return all(d in alone or n == 1 for d, n in enumerate(shape))


def plus_zero(e: Editor, x: int) -> int:
    """``0 + x``, as a sum from zero is: 0 where x is -0."""
    return x if never_minus_zero(e, x) else e.map("add", x, e.like(x, 0))


@rule("scatter_add", says="scatter_add(x, i, labels) = select(j == labels[i], x[i], 0)")
def one_of_each_row(e: Editor, s: Statement) -> int | None:
    """One element for each row: the transpose of a pick of one per row.

    That a label is in range is checked by a pick of it from the indices themselves.
    """
    x, *indices = s.inputs
    (shape,) = s.parameters
    size = e.known(x).shape
    if len(size) + 1 != len(shape) or size != shape[:-1] or not e.known(x).size:
        return None
    for d, i in enumerate(indices[:-1]):
        if size[d] != 1 and affine(e, i) != (0, ((d, 1),)):
            return None
    label, seen = indices[-1], tuple([(0, ((d, 1),)) for d in range(len(size))])
    known = e.known(label)
    label = e.made("pick", (e.iota(shape[-1:], 0, known.dtype), label), (), known)
    here = e.iota(shape, len(size), known.dtype)
    hit = e.map("equal", here, e.view(label, seen, shape))
    kept = e.view(plus_zero(e, x), seen, shape)
    return e.select(hit, kept, e.like(kept, 0))


# ---- copies

@rule("copy", says="a copy of a copy is one copy; to the same shape it is nothing")
def copy_of_copy(e: Editor, s: Statement) -> int | None:
    """A reshape of a reshape, or of one number."""
    (x,), (shape,) = s.inputs, s.parameters
    if e.known(x).shape == shape:
        return x
    if x in e.numbers:
        return e.splat(e.numbers[x], shape)
    inner = e.statements[x]
    return e.made("copy", inner.inputs, (shape,), s.known) if inner.name == "copy" else None


@rule("copy", says="a copy that merges again what a view has split is the operand")
def copy_of_split(e: Editor, s: Statement) -> int | None:
    """A reshape that is undone."""
    seen = e.statements[s.inputs[0]]
    if seen.name != "view" or e.known(seen.inputs[0]).shape != s.known.shape:
        return None
    index = split(s.known.shape, seen.known.shape)
    return seen.inputs[0] if index is not None and (
        normal(index, seen.known.shape) == seen.parameters[0]) else None
