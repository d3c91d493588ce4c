"""What a Graph is, as a text: equal texts have equal Programs, so machine code is found by it.

`text_of` says everything that lowering and all later stages read: the rows and their parameters,
shapes and dtypes, the bytes of constants. Lines of the user's are left out. A Graph that holds
anything else than what is known here - a function of the user's, say - has no text, and goes
through the stages each time.
"""

from __future__ import annotations

import functools
import hashlib
from types import EllipsisType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import Aval
from adjoint.core.primitive import Primitive
from adjoint.core.symbol import Graph

from .program import uniform

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = frozenset([int, float, complex, bool, str, bytes, type(None), EllipsisType])


class Unsayable(Exception):  # noqa: N818 - nobody sees it: the Graph has no text
    """Something that is not known here."""


def text_of(graph: Graph) -> str:
    """The Graph as a text; empty if it has none.

    >>> from adjoint.compiler.keys import text_of
    >>> ad.jit(lambda x: 2.0 * x)(1.0)
    2.0
    """
    try:
        return of_graph(graph)
    except Unsayable:
        return ""


def of_graph(graph: Graph) -> str:
    """Its inputs, nodes and outputs; a Node that is none of them is a constant."""
    numbers = {n: k for k, n in enumerate(graph.inputs)}
    lines = [of_aval(n.aval) for n in graph.inputs]
    lines.append("in")
    rows: dict[Primitive, int] = {}  # each is told once

    def number(n: Any) -> int:
        k = numbers.get(n)
        if k is None:
            lines.append(f"const {of_aval(n.aval)} {told(n.value)}")
            k = numbers[n] = len(numbers)
        return k
    for n in graph.nodes:
        given = [number(i) for i in n.inputs]
        row, params = rows.get(n.prim), n.params
        if row is None:
            lines.append(of_row(n.prim))
            row = rows[n.prim] = len(rows)
        lines.append(f"{row}{given}{of_dict(params)}" if params else f"{row}{given}")
        numbers[n] = len(numbers)
    lines.append(f"out {[number(o) for o in graph.outputs]}")
    return "\n".join(lines)


@functools.lru_cache(maxsize=4096)
def of_row(row: Primitive) -> str:
    """A row, by the function that lowers it, which must be of the library."""
    if row.lower is None:
        raise Unsayable
    return f"row {row.name} {told(row.lower)}"


def is_fixed(f: Any) -> bool:
    """Whether a function is what its source says: it stands there by its name."""
    return isinstance(f, FunctionType) and not f.__closure__ and "<locals>" not in f.__qualname__


def of_aval(known: Any) -> str:
    """What is known of a value."""
    if known.__class__ is tuple:
        return f"[{' '.join(map(of_aval, known))}]"
    return f"{known.dtype.str}{known.shape}{'weak' if known.weak else ''}"


def of_dict(values: dict[Any, Any]) -> str:
    """A dictionary, in its order."""
    return f"{{{' '.join([f'{told(k)}: {told(v)}' for k, v in values.items()])}}}"


def told(value: Any) -> str:
    """A parameter, or what a lowering closes over."""
    kind = value.__class__
    if kind in NUMBERS:
        return repr(value)
    if kind is tuple:
        return f"({' '.join(map(told, value))})"
    tell = TELLERS.get(kind)
    if tell is None:
        tell = next((t for known, t in GENERAL if isinstance(value, known)), None)
        if tell is None:
            raise Unsayable
    return tell(value)


def of_array(value: Any) -> str:
    """An array or a number of NumPy's, by its bits."""
    array = np.asarray(value)
    if array.dtype.kind not in "fciub":
        raise Unsayable
    if array.size > 1 and uniform(array):
        bits = f"all {array.flat[0].tobytes().hex()}"
    else:
        bits = hashlib.sha256(array.tobytes()).hexdigest()
    return f"{value.__class__.__name__} {array.dtype.str}{array.shape} {bits}"


def of_dtype(value: Any) -> str:
    """A dtype of numbers."""
    if value.kind not in "fciub":
        raise Unsayable
    return f"dtype {value.str}"


def of_named(value: Any) -> str:
    """A class, or a function of NumPy's."""
    module = getattr(value, "__module__", None) or "numpy"  # a ufunc says nothing of old
    if not (module == "builtins" or is_ours(module)):
        raise Unsayable
    return f"{module}.{getattr(value, '__qualname__', value.__name__)}"


def of_function(f: Any) -> str:
    """A function of the library, and what it closes over."""
    if not is_ours(f.__module__):
        raise Unsayable
    held = "" if is_fixed(f) else " ".join(
        [told(c.cell_contents) for c in f.__closure__ or ()]
        + [told(d) for d in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values())])
    return f"{f.__module__}.{f.__qualname__}:{f.__code__.co_firstlineno} <{held}>"


def is_ours(module: str) -> bool:
    """Whether a module is the library's, or NumPy's."""
    return module.partition(".")[0] in {__name__.partition(".")[0], "numpy"}


def of_named_tuple(value: Any) -> str:
    """A named tuple of the library."""
    if not is_ours(type(value).__module__):
        raise Unsayable
    return f"{type(value).__name__}({' '.join(map(told, value))})"


TELLERS: dict[Any, Callable[[Any], str]] = {
    list: lambda v: f"[{' '.join(map(told, v))}]",
    dict: of_dict,
    slice: lambda v: f"slice({told(v.start)} {told(v.stop)} {told(v.step)})",
    frozenset: lambda v: f"set({' '.join(sorted(map(told, v)))})",
    np.ndarray: of_array, Aval: of_aval, FunctionType: of_function, Primitive: of_row,
    np.ufunc: of_named, MethodType: lambda m: f"{told(m.__func__)} of {told(m.__self__)}",
    functools.partial: lambda p: f"{told(p.func)} {told(p.args)} {told(p.keywords)}"}
GENERAL: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (np.generic, of_array), (np.dtype, of_dtype), (Graph, of_graph), (type, of_named),
    (tuple, of_named_tuple))
