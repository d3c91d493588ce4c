"""Where something happened: lines of source, names of variables, the way back to a parameter."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from adjoint import hooks
from adjoint.core.box import Box
from adjoint.core.node import Leaf
from adjoint.core.primitive import CONSTANT
from adjoint.modes import HERE
from adjoint.show.places import located

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

FRAMES, HEAD, TAIL = 20, 9, 3


def users_frames() -> Iterator[FrameType]:
    """The frames of the user, from the one that called this package outwards."""
    frame, count = sys._getframe(1), 0
    while frame is not None and count < FRAMES:
        if not frame.f_code.co_filename.startswith(HERE):
            count += 1
            yield frame
        frame = frame.f_back


def owner_of(n: Any) -> Any:
    """The Tensor whose gradient a leaf feeds."""
    return n.owner() if isinstance(n, Leaf) and n.owner is not None else None


def name_of(n: Any) -> str:
    """What the user calls a leaf: a parameter of a module, or a variable; empty if not found."""
    owner = owner_of(n)
    frames = list(users_frames())
    for frame in frames if owner is not None else ():
        for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:
            for parameter, tensor in named(value):
                if tensor is owner:
                    return f"{name}.{parameter}"
    return variable_of(lambda value: value is owner or getattr(value, "node", None) is n, frames)


def variable_of(fits: Callable[[Any], bool], frames: Iterable[FrameType]) -> str:
    """The variable of the user that holds a Box which fits; empty if there is none."""
    for frame in frames:
        for name, value in frame.f_locals.items():
            if isinstance(value, Box) and fits(value):
                return name
    return ""


def named(value: Any) -> Iterable[tuple[str, Any]]:
    """The named parameters of a module; nothing for other objects."""
    known = any(base.__module__.startswith("adjoint.nn") for base in type(value).__mro__)
    return value.named_parameters() if known and hasattr(value, "named_parameters") else ()


def way(n: Any, target: Any = None) -> list[Any]:
    """The shortest way from a step to a leaf, both included; to ``target`` if that is given."""
    came: dict[Any, Any] = {n: None}
    queue = deque([n])
    while queue:
        here = queue.popleft()
        if here is target or (target is None and here.prim is not CONSTANT and not here.inputs):
            steps = []
            while here is not None:
                steps.append(here)
                here = came[here]
            return steps[::-1]
        for source in here.inputs or ():
            if source not in came and source.prim is not CONSTANT:
                came[source] = here
                queue.append(source)
    return [n]


def printed(steps: list[Any], names: dict[float, str]) -> tuple[str, ...]:
    """A way as text, one line a step; the middle of a long one is left out."""
    lines = [one(n, names) for n in steps if n.prim is not hooks.HOOK]
    if len(lines) > HEAD + TAIL + 1:
        left = len(lines) - HEAD - TAIL
        lines[HEAD:-TAIL] = [f"... {left} more steps ..."]
    return tuple(lines)


def one(n: Any, names: dict[float, str]) -> str:
    """One step of a way."""
    if n.prim is CONSTANT or not n.inputs:
        name = names.get(n.index) or name_of(n)
        return f"{name or 'an argument'}, of shape {n.aval.shape}"
    file, number, text = located(n.site)
    place = f"line {number} of {file}" if file else "line unknown"
    return f"{n.prim}: {place}" + (f": {text}" if text else "")
