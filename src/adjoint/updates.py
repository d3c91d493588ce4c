"""``x.at[key].set(v)``: arrays that are as ``x`` but in some places, as JAX spells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import bind
from adjoint.core.node import aval_of
from adjoint.core.primitive import PUBLIC, REGISTRY
from adjoint.errors import ArgumentError, DTypeError, EscapeError, ShapeError
from adjoint.ops.declare import shape_of
from adjoint.ops.index import filled, parse, selected_shape

from .exits import bottom, is_concrete

if TYPE_CHECKING:
    from adjoint.core.box import Box


class At:
    """``x.at``, which takes a key."""

    def __init__(self, x: Box) -> None:
        self.x = x

    def __getitem__(self, key: Any) -> Places:
        """The places that a key selects."""
        return Places(self.x, key)

    def __getattr__(self, name: str) -> Any:
        """An error: nothing can be done without a key."""
        raise ArgumentError(f"x.at.{name}: which places? Write x.at[key].set(v), or add, multiply, "
                            "min, max; a ufunc's at is spelled np.add.at(array, key, v)")


class Places:
    """The places of an array that a key selects; each method gives a new array.

    What a key selects several times is changed several times, one after the other. Indices follow
    NumPy's rules; one that is out of range is an error.
    """

    def __init__(self, x: Box, key: Any) -> None:
        self.x, self.key = x, key

    def get(self) -> Any:
        """What stands there: ``x[key]``.

        >>> ad.tensor([1.0, 2.0]).at[1].get()
        tensor(2.)
        """
        return PUBLIC["getitem"](self.x, self.key)

    def set(self, value: Any) -> Any:
        """``x`` with ``value`` there; of several values for one place the last one stays.

        >>> ad.tensor([1.0, 2.0, 3.0]).at[:2].set(0.0)
        tensor([0., 0., 3.])
        """
        return PUBLIC["setitem"](self.x, self.key, value)

    def add(self, value: Any) -> Any:
        """``x`` with ``value`` added there.

        >>> ad.tensor([1.0, 2.0, 3.0]).at[np.array([0, 0])].add(5.0)
        tensor([11.,  2.,  3.])
        """
        x, (template, indices) = self.x, parse(self.key, shape_of(self.x))
        value = self.spread(value, template, indices)
        return x + bind(REGISTRY["getitem_transpose"], (value, *indices),
                        {"key": template, "shape": x.shape})

    def multiply(self, value: Any) -> Any:
        """``x`` multiplied by ``value`` there.

        >>> ad.tensor([1.0, 2.0, 3.0]).at[1:].mul(10.0)
        tensor([ 1., 20., 30.])
        """
        return self.changed("multiply", value)

    mul = multiply

    def min(self, value: Any) -> Any:
        """``x``, or ``value`` where that is less, there."""
        return self.changed("minimum", value)

    def max(self, value: Any) -> Any:
        """``x``, or ``value`` where that is greater, there.

        >>> ad.tensor([1.0, 2.0, 3.0]).at[np.array([0, 0, 2])].max(np.array([5.0, 4.0, 0.0]))
        tensor([5., 2., 3.])
        """
        return self.changed("maximum", value)

    def spread(self, value: Any, template: Any, indices: Any) -> Any:
        """A value in the shape that the key selects, and in the dtype of ``x``."""
        known, dtype = aval_of(value), self.x.dtype
        if not np.can_cast(known.dtype, dtype, "same_kind"):
            raise DTypeError(f"x.at[key]: a value of {known.dtype} does not fit into x of {dtype}; "
                             "write x.astype(...) first")
        shape = selected_shape("x.at", self.x.shape, template, [shape_of(i) for i in indices])
        try:
            value = PUBLIC["broadcast_to"](value, shape)
        except (ShapeError, ValueError):
            raise ShapeError(f"x.at[key]: a value of shape {known.shape} does not broadcast to the "
                             f"{shape} that the key selects") from None
        return PUBLIC["astype"](value, dtype)

    def changed(self, row: str, value: Any) -> Any:
        """``x`` with a function of what stands there, and of the value, in its place."""
        x, (template, indices) = self.x, parse(self.key, shape_of(self.x))
        value = self.spread(value, template, indices)
        times = occurrences(template, indices, x.shape) if indices else None
        if times is None or not times[1].any():
            there = PUBLIC["getitem"](x, self.key)
            return PUBLIC["setitem"](x, self.key, PUBLIC[row](there, value))
        places, ranks = times
        y, values = PUBLIC["reshape"](x, (-1,)), PUBLIC["reshape"](value, (-1,))
        for k in range(ranks.max() + 1):  # a place that is selected thrice takes part in three
            at = np.flatnonzero(ranks == k)
            y = PUBLIC["setitem"](y, places[at], PUBLIC[row](
                PUBLIC["getitem"](y, places[at]), PUBLIC["getitem"](values, at)))
        return PUBLIC["reshape"](y, x.shape)


def occurrences(template: Any, indices: Any, shape: Any) -> tuple[Any, Any]:
    """The places that index arrays select, flat, and for each how often it was selected before."""
    if not all(map(is_concrete, indices)):
        raise EscapeError("x.at[key] with indices that are computed: whether two are one place is "
                          "not known while the function is traced. Write x.at[key].add(v), which "
                          "needs no such knowledge, or ad.setitem(x, key, f(x[key], v)) where no "
                          "two are the same")
    arrays = [np.asarray(bottom(i)) for i in indices]
    places = np.arange(int(np.prod(shape))).reshape(shape)[filled(template, arrays)].ravel()
    order = np.argsort(places, kind="stable")
    first = np.searchsorted(places[order], places[order])
    ranks = np.empty(places.size, np.intp)
    ranks[order] = np.arange(places.size) - first
    return places, ranks
