"""Whether a product on the way left the range of floats, for the rules that then know another way.

NumPy looks for overflow and underflow after each call anyway. In sweeps, where it is not to warn of
them, it is told to call `leave`: so where nothing leaves the range, knowing that costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from adjoint.core.careful import QUIET
from adjoint.core.node import aval_of
from adjoint.core.primitive import PUBLIC


class Range:
    """``left`` is another object after each result that left the range of floats.

    A rule that finds another one after a product than before it knows that digits may be lost, of
    the values or of what is differentiated above them. Threads share it, so that one may now and
    then take care in vain, but never miss its own.
    """

    __slots__ = ("left",)
    left: object


RANGE = Range()
RANGE.left = None


def leave(*_: Any) -> None:
    """Note an overflow or underflow; NumPy gives its name and a flag."""
    RANGE.left = object()


QUIET.update(divide="ignore", invalid="ignore", over="call", under="call", call=leave)


def chosen(through: Any, other: Any, usual: Any) -> Any:
    """The product ``other`` where its factor ``through`` has all its digits, else ``usual``."""
    dtype = aval_of(usual).dtype
    if dtype.kind == "c":
        return usual
    tiny = np.finfo(dtype).tiny
    large = PUBLIC["logical_or"](through >= tiny, through <= -tiny)
    return PUBLIC["where"](PUBLIC["logical_and"](large, PUBLIC["isfinite"](through)), other, usual)
