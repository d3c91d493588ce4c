"""Which element of a result reads which element of an argument, whatever the values are.

A partial derivative may be zero because of the values (a dead ReLU, a weight that is 0): that is
an influence of size 0. Or no value could make it anything else (the second row of ``W @ x`` never
reads the first row of W): that is none. `dependence` tells the two apart.

Elementwise rows say so by broadcasting. Of other rows each element of the argument is changed in
turn, to NaN and to numbers beyond all others on both sides, at a generic point; what changes in
the result reads it. What the Jacobian of this run has there counts in any case, so that nothing
that carries a derivative is missed. Where the row cannot be run (a function of the user's, random
numbers, a matrix that is rejected), every element is taken to read every element.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import AdjointError

from .flows import EngineRules

if TYPE_CHECKING:
    from .record import Record, Step

FAR = 1e6
CHANGES = (np.nan, FAR, -FAR)


def dependence(record: Record, step: Step, position: int, jacobian: Any) -> Any:
    """Booleans (elements of step, elements of the argument): who reads whom."""
    source = step.inputs[position]
    if step.row.elementwise or step.is_hook:
        where = np.broadcast_to(np.arange(source.size).reshape(source.shape), step.shape)
        mask = np.zeros((step.size, source.size), bool)
        mask[np.arange(step.size), where.ravel()] = True
        return mask
    everything = np.ones((step.size, source.size), bool)
    if not isinstance(record.rules, EngineRules) or step.row.effects != "none":
        return everything
    for generic in (True, False):
        try:
            return probed(step, position, generic=generic) | (np.asarray(jacobian) != 0)
        except (AdjointError, ArithmeticError, ValueError, TypeError, IndexError):
            continue  # no such matrix, index or domain at this point
    return everything


def probed(step: Step, position: int, *, generic: bool) -> Any:
    """Which elements of the result change with each element of an argument."""
    rng = np.random.default_rng(0)
    xs = [moved(s.value, rng) if generic else s.value for s in step.inputs]
    x = np.array(xs[position])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        before = applied(step, xs)
        columns: list[Any] = []
        for j in range(x.size):
            changed = np.zeros(step.size, bool)
            for value in CHANGES:
                other = x.copy()
                other.ravel()[j] = value  # a view: the copy is in C order
                xs[position] = other[()]
                changed |= ~np.isclose(applied(step, xs), before, rtol=0, atol=0, equal_nan=True)
            columns.append(changed)
    return np.stack(columns, 1)


def moved(value: Any, rng: np.random.Generator) -> Any:
    """Floats nearby, none of them a zero that hides what it is multiplied with."""
    x = np.asarray(value)
    return (x + rng.uniform(0.25, 0.75, x.shape)).astype(x.dtype)[()] if x.dtype.kind == "f" else x


def applied(step: Step, xs: list[Any]) -> Any:
    """The value of a step for other arguments, flat."""
    y = step.row.impl(*xs, **step.params)
    return np.ravel(y if step.picked is None else y[step.picked])
