"""Where something happened: lines of source, names of variables, the way back to a parameter."""

from __future__ import annotations

import linecache
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from adjoint import hooks
from adjoint.core.box import Box
from adjoint.core.node import Leaf
from adjoint.core.primitive import CONSTANT
from adjoint.modes import HERE, line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

FRAMES, HEAD, TAIL, WIDTH = 20, 9, 3, 100


class Derived(tuple[Any, ...]):  # noqa: SLOT001 - a tuple of this length cannot have slots
    """The site of a step that a rule makes: that of the operation whose rule it is."""

    row = ""


def located(where: Any) -> tuple[str, int, str]:
    """File, line, and the text of a site; an expression over several lines is joined."""
    if where is None:
        return "", 0, ""
    file, number = line_of(where)
    first, last, start, end = span(where)
    lines = [linecache.getline(file, n) for n in range(number, number + 1)]
    if first and last and last > first:
        lines = [linecache.getline(file, n) for n in range(first, last + 1)]
        if lines and start is not None and end is not None:  # columns count bytes
            lines[-1] = lines[-1].encode()[:end].decode(errors="ignore")
            lines[0] = lines[0].encode()[start:].decode(errors="ignore")
    text = " ".join(" ".join(lines).split())
    row = getattr(where, "row", "")
    text = text if len(text) <= WIDTH else text[:WIDTH - 4] + " ..."
    return file, number, text + (f"  (in the derivative of `{row}`)" if row else "")


def span(where: Any) -> tuple[int | None, int | None, int | None, int | None]:
    """First and last line, and columns, of the expression at a site."""
    code, instruction = where
    for k, found in enumerate(code.co_positions()):
        if 2 * k == instruction:
            return found[0], found[1], found[2], found[3]
    return None, None, None, None


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
