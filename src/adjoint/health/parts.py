"""Boxes taken apart into the arrays that they hold, and single elements found in those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box
from adjoint.core.forward import Dual
from adjoint.core.symbol import Symbol
from adjoint.transforms.batching import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TANGENT = "tangent"


class Part(NamedTuple):
    """One array in a value: what it is of the value, and the batch levels of its leading axes."""

    label: str
    array: Any
    levels: tuple[int, ...] = ()

    @property
    def moving(self) -> bool:
        """Whether this is a rate of change."""
        return TANGENT in self.label


def parts(x: Any, label: str = "", levels: tuple[int, ...] = ()) -> Iterator[Part]:
    """The floating point arrays that ``x`` holds: its value first, then its tangents."""
    while isinstance(x, Box) and not isinstance(x, (Dual, Symbol)):
        if isinstance(x, Batch):
            levels = (x.level, *levels)
        x = x.value
    if isinstance(x, Dual):
        yield from parts(x.value, label, levels)
        rates = getattr(x.tangent, "rates", None)  # of a ForwardValue: one for each input
        for tangent in [x.tangent] if rates is None else rates.values():
            yield from parts(tangent, f"{TANGENT} of {label}" if label else TANGENT, levels)
    elif isinstance(x, tuple):
        for k, v in enumerate(x):
            yield from parts(v, f"result {k}{' of ' + label if label else ''}", levels)
    elif isinstance(x, (np.ndarray, np.generic, float, complex)):
        array = np.asarray(x)
        if array.dtype.kind in "fc":
            yield Part(label, array, levels)


def concrete(x: Any) -> bool:
    """Whether ``x`` has numbers: it is not being traced."""
    while isinstance(x, Box) and not isinstance(x, Symbol):
        x = x.value
    return not isinstance(x, Symbol)


class Place(NamedTuple):
    """An element: of which Part, its index there without the batch axes, and its batch indices."""

    part: Part
    at: tuple[int, ...]
    batch: dict[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the element stands in, without the batch axes."""
        return self.part.array.shape[len(self.part.levels):]

    @property
    def value(self) -> Any:
        """The number there."""
        return self.part.array[(*self.batch.values(), *self.at)]


def place(part: Part, mask: Any) -> Place:
    """The first element of ``part`` at which ``mask`` holds."""
    where = tuple(int(i) for i in np.argwhere(mask)[0])
    n = len(part.levels)
    return Place(part, where[n:], dict(zip(part.levels, where[:n], strict=True)))


def element(part: Part, there: Place) -> Any:
    """The number of ``part`` that meets the element ``there`` by broadcasting; None without one."""
    array = member(part, there.batch)
    if array.ndim > len(there.shape):
        return None
    index = there.at[len(there.shape) - array.ndim:]
    if any(d not in (1, n) for d, n in zip(
            array.shape, there.shape[len(there.shape) - array.ndim:], strict=True)):
        return None
    return array[tuple(0 if d == 1 else i for i, d in zip(index, array.shape, strict=True))]


def member(part: Part, batch: Mapping[int, int]) -> Any:
    """The array of one member of the batch."""
    return part.array[tuple(batch.get(level, 0) for level in part.levels)]


def met(part: Part, mask: Any, target: Part) -> Any:
    """``mask``, over ``part``, as it meets the elements of ``target`` by broadcasting.

    One truth for all, where the shapes do not tell.
    """
    n, m = len(part.levels), len(target.levels)
    if part.levels and part.levels != target.levels:
        return np.any(mask)
    missing = (target.array.ndim - m) - (part.array.ndim - n)
    if missing < 0:
        return np.any(mask)
    mask = np.reshape(mask, (*mask.shape[:n], *(1,) * missing, *mask.shape[n:]))
    try:
        return np.broadcast_to(mask, target.array.shape)
    except ValueError:
        return np.any(mask)


def bad(array: Any, infinity: bool) -> Any:
    """Where an array is NaN, or infinite if that counts."""
    return ~np.isfinite(array) if infinity else np.isnan(array)


def any_bad(x: Any, infinity: bool = True) -> bool:
    """Whether a value holds a NaN or an infinity anywhere."""
    return any(bool(np.any(bad(p.array, infinity))) for p in parts(x))


def origin(target: Part, operands: Sequence[Part], elementwise: bool, infinity: bool) -> Any:
    """Where ``target`` is bad and what it was made from was not: there the step made it so.

    A NaN made of infinities counts too (inf - inf).
    """
    wrong, nan = bad(target.array, infinity), np.isnan(target.array)
    for p in operands:
        if p.moving and not target.moving:
            continue
        was, was_nan = bad(p.array, infinity=True), np.isnan(p.array)
        wrong = wrong & ~(met(p, was, target) if elementwise else np.any(was))
        nan = nan & ~(met(p, was_nan, target) if elementwise else np.any(was_nan))
    return wrong | nan
