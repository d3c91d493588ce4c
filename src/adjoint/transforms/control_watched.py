"""Control flow while a doctor or `ad.kinks` watches: Python's own loops, so that each step is seen.

The results are those of the rows; the functions given run once for each turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import MODES, switch
from adjoint.exits import bottom
from adjoint.hooks import copied, handle
from adjoint.ops.assemble import stack
from adjoint.tensors import untracked

from .batching import Batch
from .control_while import exists

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def is_watched() -> bool:
    """Whether somebody looks at every operation here."""
    return bool(switch.armed) and MODES.get().watch is not None


def boxed(x: Any) -> Any:
    """A value as the functions get it: a Tensor, or the Box that it is."""
    return x if isinstance(x, Box) else untracked(x)


def own(state: Sequence[Any]) -> list[Any]:
    """Values as Boxes of their own, which a function gives back where it does nothing."""
    return [copied(boxed(x)) for x in state]


def passed(x: Any, kind: str) -> Any:
    """An argument of a function: a Box of its own, without axes an array or a number as it was."""
    y = copied(boxed(x))
    return y if y.shape else held_as(y, array=kind == "array")


def held_as(y: Any, *, array: bool) -> Any:
    """``y``, which has no axes, with an array or a number at its bottom."""
    if not isinstance(y, Box):
        return np.array(y) if array else np.asarray(y)[()]
    y = handle(y)
    if isinstance(y, Batch):
        y.changeable = array
    else:
        y.value = held_as(y.value, array=array)
    return y


def fitted(y: Any, known: Any) -> Any:
    """A result of a function as a Box of its own, of the Aval that was announced."""
    return copied(y) if isinstance(y, Box) else untracked(np.array(y, known.dtype)[()])


def scanned(turn: Callable[[Sequence[Any]], list[Any]], state: Sequence[Any],
            columns: Sequence[Any], count: int, reverse: bool, known: Sequence[Any]) -> list[Any]:
    """``state, *rest = turn([*state, *rows])`` for each row; the last state, and the rest stacked.

    ``known`` are the Avals of what a turn gives.
    """
    carries, rows, columns = len(state), list[list[Any]](), [boxed(x) for x in columns]
    for t in range(count)[::-1 if reverse else 1]:
        found = turn([*state, *[x[t] for x in columns]])
        state = found[:carries]
        rows.append(found[carries:])
    empty = [untracked(np.zeros((0, *a.shape), a.dtype)) for a in known[carries:]]
    stacks = [stack(column) for column in zip(*rows[::-1 if reverse else 1], strict=True)]
    return [*(map(boxed, state) if rows else own(state)), *(stacks if rows else empty)]


def looped(condition: Callable[[Sequence[Any]], Any], turn: Callable[[Sequence[Any]], list[Any]],
           state: Sequence[Any]) -> list[Any] | None:
    """``state = turn(state)`` as long as the condition holds; None if it has no one value."""
    state = own(state)
    holds = condition(state)
    if not exists(holds):
        return None
    while bool(bottom(holds)):
        state = turn(state)
        holds = condition(state)
    return state
