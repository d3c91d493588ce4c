"""Units of size, so that no square or product on the way leaves the range of floats.

f(x) is computed as f(x / unit) and given its size again. Mathematically the unit has no part in the
result, so it is a constant in all derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .reduce import max as largest
from .select import logical_and, logical_or, stop_gradient, where
from .sorting import known_values

USUAL = 1 / 8  # sizes whose eighth powers are in range; second derivatives have fourth powers


def size_of(x: Any, axes: Any) -> Any:
    """The largest finite absolute value over the axes, which stay at size 1; 0 if there is none."""
    x = abs(stop_gradient(x))
    return largest(where(x < np.inf, x, x.dtype.type(0)), axes, keepdims=True)


def unit_of(x: Any, axes: Any) -> Any:
    """The size of x over the axes where it is far from 1, else 1; None if nowhere."""
    if 0 in x.shape or x.dtype.kind not in "fc":
        return None
    size = size_of(x, axes)
    limits, one = np.finfo(size.dtype), size.dtype.type(1)
    low, high = (size.dtype.type(float(v) ** USUAL) for v in (limits.tiny, limits.max))
    usual = logical_or(size == 0, logical_and(size > low, size < high))
    known = known_values(usual)
    return None if known is not None and known.all() else where(usual, one, size)

