"""Reading by key: slices, integers and index arrays, and the scatter that transposes it.

A key is split into a template, which is a parameter (slices, integers, new axes, places of index
arrays), and the index arrays, which are arguments: so that they can be batched and traced. A mask
becomes index arrays. Writing by key is in ``write.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import aval, ndarray
from adjoint.core.primitive import REGISTRY, Label
from adjoint.errors import IndexingError

from . import loops
from .cases import Case, Cases, draw
from .declare import function, general, shape_of
from .flat import unary_with
from .shape import broadcast_to, moveaxis, reshape

Template = tuple[Any, ...]
Shape = tuple[int, ...]
NOT_BROADCAST = {"broadcast left": "indices select, shapes do not broadcast",
                 "broadcast right": "indices select, shapes do not broadcast"}
PLAIN = {int, slice, type(None), type(Ellipsis)}
BOUND = {int, type(None)}
INDICES = frozenset(range(1, 33))  # NumPy has no more axes than this


class Slot(NamedTuple):
    """The place of an index array in a key's template."""

    number: int


# ---- keys

def parse(key: Any, shape: Shape) -> tuple[Template, list[Any]]:
    """The template of a key for an array of this shape, and its index arrays."""
    items = key if isinstance(key, tuple) else (key,)
    if any(item.__class__ not in PLAIN for item in items):
        items = [masked(item) for item in items]
        check_masks(items, shape)
    template: list[Any] = []
    arrays: list[Any] = []
    for item in items:
        if isinstance(item, slice):
            template.append(plain_slice(item))
        elif item is None or item is Ellipsis:
            template.append(item)
        elif isinstance(item, (int, np.integer)):
            template.append(int(item))
        else:
            for array in index_arrays(item):
                template.append(Slot(len(arrays)))
                arrays.append(array)
    return tuple(template), arrays


def masked(item: Any) -> Any:
    """One part of a key, with a mask as an array; a single True stands for a new axis."""
    if isinstance(item, Box):
        if item.dtype.kind != "b":
            return item
        item = item.concrete()
    if not isinstance(item, (bool, np.bool_)) and not (
            isinstance(item, ndarray) and item.dtype.kind == "b" and item.ndim == 0):
        return item
    if item:
        return None
    raise IndexingError("x[False] selects nothing; write ad.where(condition, x, z) to choose")


def check_masks(items: list[Any], shape: Shape) -> None:
    """A mask has the shape of the axes that it stands for, or it is an error."""
    masks = [mask_of(item) for item in items]
    used = [0 if item is None or item is Ellipsis else 1 if mask is None else mask.ndim
            for item, mask in zip(items, masks, strict=True)]
    axis = 0
    for item, mask, count in zip(items, masks, used, strict=True):
        if mask is not None and mask.shape != shape[axis:axis + count]:
            raise IndexingError(f"a mask of shape {mask.shape} does not fit the axes "
                                f"{shape[axis:axis + count]} of an array of shape {shape}")
        axis += len(shape) - sum(used) if item is Ellipsis else count


def mask_of(item: Any) -> Any:
    """The array of a mask; None for anything else."""
    if isinstance(item, (ndarray, list)) and (a := np.asarray(item)).dtype.kind == "b":
        return a
    return None


def is_plain(item: Any) -> bool:
    """Whether a part of a key goes into the template as it stands."""
    if item.__class__ is not slice:
        return item.__class__ in PLAIN
    return (item.start.__class__ in BOUND and item.stop.__class__ in BOUND
            and item.step.__class__ in BOUND)


def plain_slice(item: slice) -> slice:
    """A slice of Python integers; a tracked bound is an error that names the place."""
    bounds = [None if v is None else v.__index__() for v in (item.start, item.stop, item.step)]
    return slice(*bounds)


def index_arrays(item: Any) -> list[Any]:
    """The index arrays of one part of a key: one of integers, or those of a mask."""
    if isinstance(item, Box):
        if item.dtype.kind not in "iu":
            raise IndexingError(f"an index must be an integer or a boolean, not {item.dtype}; "
                                "write x[i.astype(int)]")
        return [item]
    array = np.asarray(item)
    if array.size == 0 and not isinstance(item, ndarray):
        array = array.astype(np.intp)
    if array.dtype.kind == "b":
        return list(np.nonzero(array))
    if array.dtype.kind not in "iu":
        raise IndexingError("an index is an integer, a slice, None, ... or an array of integers or "
                            f"booleans, not {item!r}")
    return [array.copy()]


def filled(template: Template, arrays: Any) -> Template:
    """The NumPy key of a template and its index arrays."""
    return tuple([arrays[k.number] if k.__class__ is Slot else k for k in template])


def selected_shape(name: str, shape: Shape, template: Template, shapes: list[Shape]) -> Shape:
    """The shape that a key selects, whose index arrays have these shapes, by asking NumPy."""
    stand_in = np.broadcast_to(np.False_, shape)
    arrays = [np.zeros(s, np.intp) for s in shapes]  # in range wherever any index is
    try:
        return stand_in[filled(template, arrays)].shape
    except IndexError as e:
        raise IndexingError(f"{name}: {e}; the shape is {shape}") from None


def spelled_out(key: Template, ndim: int) -> Template:
    """A template without Ellipsis: one part for each axis, and the new axes."""
    used = sum(k is not None and k is not Ellipsis for k in key)
    rest = (slice(None),) * (ndim - used)
    where = next((n for n, k in enumerate(key) if k is Ellipsis), len(key))
    return (*key[:where], *rest, *key[where + 1:])


def picked_place(full: Template) -> int:
    """Where NumPy puts the axes of the index arrays: in front if other parts stand between."""
    if not together(full):
        return 0
    return next(n for n, k in enumerate(full) if isinstance(k, (Slot, int)))


def together(full: Template) -> bool:
    """Whether no other part of the key stands between its integers and index arrays."""
    at = [n for n, k in enumerate(full) if isinstance(k, (Slot, int))]
    return at[-1] - at[0] + 1 == len(at)


# ---- the rules

def _read(x: Any, *indices: Any, key: Template) -> Any:
    try:
        return x[filled(key, indices) if indices else key]
    except IndexError as e:
        raise IndexingError(f"{e}; the shape is {np.shape(x)}") from None


def _scatter_impl(dy: Any, *indices: Any, key: Template, shape: Shape) -> Any:
    y = np.zeros(shape, np.asarray(dy).dtype)
    if indices:
        try:
            np.add.at(y, filled(key, indices), dy)
        except IndexError as e:
            raise IndexingError(f"{e}; the shape is {shape}") from None
    else:
        y[key] = dy
    return y


def _getitem_vjp(dy: Any, y: Any, x: Any, *indices_needs: Any, key: Template) -> tuple[Any, ...]:
    *indices, _ = indices_needs
    return (_scatter(dy, *indices, key=key, shape=x.shape), *(None,) * len(indices))


def _getitem_jvp(dxs: Any, y: Any, x: Any, *indices: Any, key: Template) -> Any:
    return None if dxs[0] is None else _getitem(dxs[0], *indices, key=key)


def _scatter_vjp(dy: Any, y: Any, x: Any, *indices_needs: Any, key: Template, shape: Shape) -> Any:
    *indices, _ = indices_needs
    return (_getitem(dy, *indices, key=key), *(None,) * len(indices))


def _scatter_jvp(dxs: Any, y: Any, x: Any, *indices: Any, key: Template, shape: Shape) -> Any:
    return None if dxs[0] is None else _scatter(dxs[0], *indices, key=key, shape=shape)


# ---- batches

class BatchKey(NamedTuple):
    """A key with a batch axis: its template and index arrays, and how the selection's axes moved.

    ``from_axes`` are axes of ``(batch, *selection)``, ``to_axes`` where the new key has them.
    """

    key: Template
    indices: list[Any]
    from_axes: tuple[int, ...]
    to_axes: tuple[int, ...]

    def inward(self, value: Any) -> Any:
        """A batched value in the order of axes in which the new key writes it."""
        return moveaxis(value, self.from_axes, self.to_axes)

    def outward(self, value: Any) -> Any:
        """What the new key reads, with the batch axis in front of the old key's selection."""
        return moveaxis(value, self.to_axes, self.from_axes)


def rank_of(indices: Any, axes: Any) -> int:
    """How many axes the index arrays have together, the batch axis not counted."""
    return max(len(shape_of(i)) - (a is not None) for i, a in zip(indices, axes, strict=True))


def batch_key(size: int, axes: Any, ndim: int, indices: Any, key: Template) -> BatchKey:
    """The key for an array with a batch axis in front of ``ndim`` others."""
    full = spelled_out(key, ndim)
    if all(a is None for a in axes):  # the batch axis is one more slice
        front = rank_of(indices, axes) if indices and not together(full) else 0
        return BatchKey((slice(None), *full), list(indices), (0,), (front,))
    rank = rank_of(indices, axes)  # the batch axis is one more index array, so all go to the front
    lead = np.arange(size).reshape(size, *(1,) * rank)
    wide = [lead, *aligned_indices(size, axes, indices, rank)]
    shifted = tuple(Slot(k.number + 1) if isinstance(k, Slot) else k for k in full)
    place = picked_place(full)
    return BatchKey((Slot(0), *shifted), wide, (0, *range(place + 1, place + 1 + rank)),
                    tuple(range(rank + 1)))


def aligned_indices(size: int, axes: Any, indices: Any, rank: int) -> list[Any]:
    """Batched index arrays with axes of size 1 behind the batch axis, up to ``rank``."""
    return [i if a is None else
            reshape(i, (size, *(1,) * (rank + 1 - len(shape_of(i))), *shape_of(i)[1:]))
            for i, a in zip(indices, axes, strict=True)]


def _batch_getitem(size: int, axes: Any, x: Any, *indices: Any, key: Template) -> Any:
    if axes[0] is None:  # only the indices differ: one selection from one array
        rank = rank_of(indices, axes[1:])
        wide = aligned_indices(size, axes[1:], indices, rank)
        return _getitem(x, *wide, key=key), picked_place(spelled_out(key, len(shape_of(x))))
    batch = batch_key(size, axes[1:], len(shape_of(x)) - 1, indices, key)
    return batch.outward(_getitem(x, *batch.indices, key=batch.key)), 0


def _batch_scatter(size: int, axes: Any, dy: Any, *indices: Any, key: Template, shape: Shape
                   ) -> Any:
    if axes[0] is None:
        dy = broadcast_to(dy, (size, *shape_of(dy)))
    batch = batch_key(size, axes[1:], len(shape), indices, key)
    return _scatter(batch.inward(dy), *batch.indices, key=batch.key, shape=(size, *shape)), 0


# ---- loops

def basic_index(shape: Shape, full: Template) -> tuple[loops.Index, Shape]:
    """The index expression of a key without index arrays, and the shape it selects."""
    index: list[Any] = []
    out: list[int] = []
    for k in full:
        if k is None:
            out.append(1)
        elif isinstance(k, slice):
            r = range(shape[len(index)])[k]
            index.append((r.start, ((len(out), r.step),)))
            out.append(len(r))
        else:
            index.append((k % shape[len(index)], ()))
    return tuple(index), tuple(out)


def grid(b: loops.Builder, shape: Shape, indices: Any, full: Template, out: Shape) -> list[Any]:
    """For each axis of an array of this shape the index read there, in the shape ``out``."""
    place, rank = picked_place(full), max(len(i.shape) for i in indices)
    rows: list[Any] = []
    plain = 0  # axes of the result so far that come from slices and new axes
    for k in full:
        if k is None:
            plain += 1
            continue
        n = shape[len(rows)]
        if isinstance(k, Slot):
            i = counted_from_zero(b, indices[k.number], n)
            rows.append(at_axes(b, i, place + rank - len(i.shape), out))
        elif isinstance(k, slice):
            line = b.const(np.arange(n, dtype=np.intp)[k])
            rows.append(at_axes(b, line, plain if plain < place else plain + rank, out))
            plain += 1
        else:
            rows.append(loops.broadcast(b, b.const(np.intp(k % n)), out))
    return rows


def at_axes(b: loops.Builder, x: Any, first: int, out: Shape) -> Any:
    """``x`` seen in shape ``out``, its axes standing at ``first`` and after."""
    index = tuple((0, ((first + d, 1),)) if n == out[first + d] else (0, ())
                  for d, n in enumerate(x.shape))
    return b.view(x, index, out)


def counted_from_zero(b: loops.Builder, i: Any, n: int) -> Any:
    """Index array ``i`` with its negative entries counted from the end of an axis of size n."""
    i = loops.cast(b, i, np.dtype(np.intp))
    zero, size = (loops.broadcast(b, b.const(np.intp(v)), i.shape) for v in (0, n))
    return b.select(b.elementwise("less", i, zero), b.elementwise("add", i, size), i)


def _lower_getitem(b: loops.Builder, x: Any, *indices: Any, key: Template) -> Any:
    full = spelled_out(key, len(x.shape))
    if not indices:
        return b.view(x, *basic_index(x.shape, full))
    out = selected_shape("getitem", x.shape, full, [i.shape for i in indices])
    return b.pick(x, grid(b, x.shape, indices, full, out))


def _lower_scatter(b: loops.Builder, dy: Any, *indices: Any, key: Template, shape: Shape) -> Any:
    full = spelled_out(key, len(shape))
    if not indices:
        return b.pad(dy, basic_index(shape, full)[0], shape, dy.dtype.type(0))
    return b.scatter_add(dy, grid(b, shape, indices, full, dy.shape), shape)


# ---- the rows

KEYS: tuple[Any, ...] = (
    0, -1, slice(1, None), slice(None, None, -1), slice(None, None, 2), (slice(None), 1), (..., 0),
    (None, slice(0, 2)), (0, 1), (slice(2, 0, -1), None, ..., -1), [0, 0, 1], ([0, 1], [1, -1]),
    (slice(None), [2, 0]), (np.array([[0], [1]]), [0, 2]), np.array([True, False]), ([0, 1, 1], 0),
    ([0, 1], None, [1, 2]), (None, [1, 0]), np.array([[True, False, True], [False, True, False]]))
CUBE_KEYS: tuple[Any, ...] = (
    ([0, 1], slice(None), [1, 2]), (slice(None), [[0, 1]], slice(None)), (0, slice(None), [1, 2]),
    (slice(None), 1, [3, 3]), (..., [0, 1], [1, 1]), ([1, 0], None, slice(1, None), 2))


def key_cases(rng: np.random.Generator) -> Any:
    """An array with every kind of key."""
    pairs = [(draw(rng, (2, 3)), key) for key in KEYS]
    pairs += [(draw(rng, (2, 3, 4)), key) for key in CUBE_KEYS]
    pairs += [(np.float64(1.5), ...), (np.ones(1), 0), (np.ones((0, 3)), (slice(None), 1)),
              (np.ones((0, 3)), (slice(None), [1, 1])), (np.ones((2, 3)), np.zeros(0, int)),
              (np.asfortranarray(draw(rng, (2, 3))), 1), (draw(rng, (4,))[::-1], slice(1, 3)),
              (np.arange(4), slice(1, 3)), (np.ones(3, np.float32), slice(0, 2)),
              (np.ones(3, np.float32), [0, 0])]
    for x, key in pairs:
        template, indices = parse(key, np.shape(x))
        yield Case((x, *indices), {"key": template})


def _scatter_cases(rng: np.random.Generator) -> Any:
    for case in key_cases(rng):
        x, *indices = case.args
        y = _read(x, *indices, key=case.params["key"])
        yield Case((np.asarray(y), *indices), {**case.params, "shape": np.shape(x)})
    yield Case((np.asfortranarray(draw(rng, (2, 3))),), {"key": (slice(0, 2),), "shape": (4, 3)})
    yield Case((draw(rng, (2,))[::-1],), {"key": (slice(0, 2),), "shape": (3,)})


_getitem = general(
    "getitem", _read, vjp=_getitem_vjp, jvp=_getitem_jvp, batch=_batch_getitem, alias=True,
    aval=lambda x, *indices, key: aval(
        selected_shape("getitem", x.shape, key, [i.shape for i in indices]), x.dtype),
    lower=_lower_getitem, keeps=INDICES, cases=Cases(key_cases, NOT_BROADCAST),
    label=Label("{0}[{key}]", "{0}_{{{key}}}", ("1",), "selection", "((",
                (r"\mathrm{{scatter}}({dy}, [{key}])",)))
_scatter = general(
    "getitem_transpose", _scatter_impl, vjp=_scatter_vjp, jvp=_scatter_jvp, lower=_lower_scatter,
    aval=lambda dy, *indices, key, shape: aval(shape, dy.dtype), keeps=INDICES,
    batch=_batch_scatter, cases=Cases(_scatter_cases, NOT_BROADCAST),
    label=Label("scatter({0}, [{key}])", r"\mathrm{{scatter}}({0}, [{key}])", ("1",), "selection",
                "((", ("{dy}_{{{key}}}",)))

_read_plain = vars(unary_with(_getitem.row))["record"]


@function()
def getitem(x: Any, key: Any) -> Any:
    """``x[key]`` by NumPy's rules: slices, integers, None, ..., integer and boolean arrays.

    What is read twice gets the sum of both gradients. Raises IndexingError if an index is out of
    range or no index, and if a mask has another shape than the axes it stands for.

    >>> ad.getitem([1.0, 2.0, 3.0], slice(1, None))
    array([2., 3.])
    """
    if not isinstance(x, Box):
        x = np.asarray(x)
    items = key if key.__class__ is tuple else (key,)
    if all([is_plain(item) for item in items]):  # noqa: C419 - a list is faster here
        return _read_plain(x, {"key": items})
    template, indices = parse(key, shape_of(x))
    return bind(REGISTRY["getitem"], (x, *indices), {"key": template})
