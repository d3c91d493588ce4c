"""Streams of random numbers that the library does not carry: NumPy's, Python's, the user's own.

What a function draws from them while it is traced would be the same at each call. What libraries
draw from the common streams is their own affair: so those are looked at only if the function's own
code can reach them.
"""

from __future__ import annotations

import dis
import random
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from .inside import codes_of, filled, is_library, root

if TYPE_CHECKING:
    from .places import Reached

NAME = "random"
MISSING = object()


def drawn(found: Reached) -> Any:
    """How far the streams are that the function can draw from."""
    states = repr([g.bit_generator.state if hasattr(g, "bit_generator") else (
        g.getstate() if isinstance(g, random.Random) else state_of(g)) for g in found.generators])
    if not draws(found):
        return states
    return states, state_of(np.random), random.getstate()


def state_of(stream: Any) -> Any:
    """How far NumPy's older kind of stream is, all of its words."""
    name, words, *rest = stream.get_state()
    return name, np.asarray(words).tobytes(), rest


def draws(found: Reached) -> bool:
    """Whether the function's own code can draw from NumPy's or Python's common stream."""
    numpy = sys.modules.get("numpy.random")  # which takes long to import, and draws nothing before
    owners = (random.Random, *((numpy.RandomState,) if numpy else ()))
    functions = [f for f in found.seen.values()
                 if isinstance(f, types.FunctionType) and not is_library(f)]
    methods = (types.MethodType, types.BuiltinFunctionType)
    return any(isinstance(v, methods) and isinstance(v.__self__, owners) for place, v in found.same
               if place.holder is not vars(random)) or any(
        named(code, variables(f)) for f in functions for code in codes_of(f.__code__))


def variables(f: types.FunctionType) -> dict[str, Any]:
    """What names mean in a function, but for its own."""
    cells = zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)
    return f.__globals__ | {name: cell.cell_contents if filled(cell) else MISSING
                            for name, cell in cells}


def named(code: types.CodeType, known: dict[str, Any]) -> bool:
    """Whether code names a ``random`` that is not this library's."""
    if NAME not in {part for name in code.co_names for part in name.split(".")}:
        return False
    before = ""
    for i in dis.get_instructions(code):
        name = i.argval if isinstance(i.argval, str) else ""
        if i.opname.startswith("IMPORT") and NAME in name.split("."):
            return True
        if name == NAME and i.opname.startswith("LOAD"):
            attribute = i.opname in {"LOAD_ATTR", "LOAD_METHOD"}
            value = known.get(before if attribute else NAME, MISSING)
            if not ours(value):
                return True
        if name:
            before = name if i.opname in {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"} else ""
    return False


def ours(value: Any) -> bool:
    """Whether a module, or what is in one, belongs to this library."""
    name = value.__name__ if isinstance(value, types.ModuleType) else root(value)
    return name.partition(".")[0] == "adjoint"
