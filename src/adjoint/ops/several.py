"""Several outputs: a Node with a tuple value, and the `item` row that picks one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.primitive import Label

from .cases import Case, Cases, layouts
from .declare import general

if TYPE_CHECKING:
    from collections.abc import Iterator


class Parts(tuple[Any, ...]):
    """The cotangent of a Node with several outputs; sums go part by part, and None is 0."""

    __slots__ = ()

    def __add__(self, other: Any) -> Parts:
        return Parts(b if a is None else a if b is None else a + b
                     for a, b in zip(self, other, strict=True))


def _item_vjp(dy: Any, y: Any, x: Any, needs: Any, index: int) -> tuple[Parts]:
    count = len(x.aval if isinstance(x, Box) else x)  # a Box while the sweep is recorded
    return (Parts(dy if i == index else None for i in range(count)),)


def _item_cases(rng: np.random.Generator) -> Iterator[Case]:
    for x in layouts(rng):
        for index, pair in enumerate(((x, np.ones((2, 3))), (np.arange(3), x))):
            yield Case((pair,), {"index": index})


item = general(
    "item", lambda x, index: x[index], aval=lambda x, index: x[index], vjp=_item_vjp,
    jvp=lambda dxs, y, x, index: None if dxs[0] is None else dxs[0][index],
    batch=lambda size, axes, x, index: (x[index], 0), lower=lambda b, x, index: b.item(x, index),
    label=Label("{0}[{index}]", "{0}_{{{index}}}", ("1",), "selection", "((",
                (r"({dy}\ \mathrm{{at}}\ {index},\ 0\ \mathrm{{elsewhere}})",)), alias=True,
    cases=Cases(_item_cases, {"broadcast left": "results stand side by side",
                              "broadcast right": "results stand side by side"}))
