"""What is certain of a statement's value without running it: finite, never -0, between two ints.

Each answer is proved from the statements, so "no" means "not known". They let `annihilate`, wrapped
indices and sums of zeros be simplified where they cannot matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .views import extent, substituted

if TYPE_CHECKING:
    from adjoint.ops.loops import Axis

    from .editor import Editor, Writer
    from .program import Program

DEPTH = 6  # statements that a proof looks through
NEVER_NEGATIVE = {"abs", "exp", "exp2", "square", "sigmoid", "softplus", "hypot", "signbit"}


def finite(e: Editor, n: int, depth: int = DEPTH) -> bool:
    """Whether every element is finite, whatever the inputs are."""
    s = e.statements[n]
    if s.known.dtype.kind in "iub" or s.name == "iota":
        return True
    if n in e.numbers:
        return bool(np.isfinite(e.numbers[n]))
    if s.name == "const":
        key = ("finite", n)
        if key not in e.memo:
            e.memo[key] = bool(np.isfinite(e.program.constants[s.parameters[0]]).all())
        return e.memo[key]
    if depth and s.name in {"view", "copy", "pick"}:
        return finite(e, s.inputs[0], depth - 1)
    if depth and (s.name == "select" or e.function(n) in {"negative", "abs", "sign"}):
        return all(finite(e, i, depth - 1) for i in s.inputs)
    return bool(depth) and s.name == "cast" and wider(e.known(s.inputs[0]).dtype, s.known.dtype) \
        and finite(e, s.inputs[0], depth - 1)


def wider(narrow: Any, wide: Any) -> bool:
    """Whether a cast keeps every finite value finite and every number what it is."""
    if narrow.kind in {"f", wide.kind}:
        return np.can_cast(narrow, wide, "safe")
    if narrow.kind in "iu" and wide.kind == "f":
        return 8 * narrow.itemsize <= np.finfo(wide).nmant + 1
    return narrow.kind == "b" and wide.kind in "iuf"


def never_minus_zero(e: Editor, n: int, depth: int = DEPTH) -> bool:
    """Whether no element is -0. Sums start from 0, so they are never -0."""
    s = e.statements[n]
    if s.known.dtype.kind != "f":
        return s.known.dtype.kind != "c"
    if n in e.numbers:
        return not (e.numbers[n] == 0 and np.signbit(e.numbers[n]))
    if s.name in {"dot", "scatter_add", "iota"} or (
            s.name == "reduce" and s.parameters[0] == "add"):
        return True
    if not depth:
        return False
    if s.name in {"view", "copy", "pick"} or (
            s.name == "reduce" and s.parameters[0] in {"maximum", "minimum"}):
        return never_minus_zero(e, s.inputs[0], depth - 1)
    if s.name == "select":
        return all(never_minus_zero(e, i, depth - 1) for i in s.inputs[1:])
    f = e.function(n)
    if f in {"add", "maximum"}:
        held = [never_minus_zero(e, i, depth - 1) for i in s.inputs]
        return any(held) if f == "add" else all(held)
    if f == "subtract":
        return never_minus_zero(e, s.inputs[0], depth - 1)
    return f in NEVER_NEGATIVE or (f == "multiply" and s.inputs[0] == s.inputs[1])


def number_behind(program: Program, n: int) -> Any:
    """The number that views and casts of a constant are throughout."""
    s = program.statements[n]
    while s.name in {"view", "cast"}:
        s = program.statements[s.inputs[0]]
    if s.name != "const" or s.known.shape:
        return None
    value = program.constants[s.parameters[0]]
    return value.item() if isinstance(value, np.ndarray) else value


def between(e: Editor, n: int, depth: int = DEPTH) -> tuple[int, int] | None:
    """The least and the greatest value of integers, if known."""
    s = e.statements[n]
    if s.known.dtype.kind not in "iu" or not s.known.size:
        return None
    if n in e.numbers:
        return int(e.numbers[n]), int(e.numbers[n])
    if s.name == "iota":
        return 0, s.parameters[0][s.parameters[1]] - 1
    if s.name == "const":
        key = ("between", n)
        if key not in e.memo:
            value = np.asarray(e.program.constants[s.parameters[0]])
            e.memo[key] = int(value.min()), int(value.max())
        return e.memo[key]
    if not depth:
        return None
    if s.name in {"view", "copy", "pick"}:
        return between(e, s.inputs[0], depth - 1)
    if s.name == "cast":
        inner = between(e, s.inputs[0], depth - 1)
        info = np.iinfo(s.known.dtype)
        return inner if inner and info.min <= inner[0] <= inner[1] <= info.max else None
    return None


def affine(e: Writer, n: int, depth: int = DEPTH) -> Axis | None:
    """Integers that are an affine function of where they stand, as an entry of an index."""
    s = e.statements[n]
    if s.known.dtype.kind not in "iu":
        return None
    if n in e.numbers:
        return int(e.numbers[n]), ()
    if s.name == "iota":
        return 0, ((s.parameters[1], 1),)
    f = e.function(n)
    if not depth or not (s.name in {"view", "cast"} or f in {"add", "subtract"}):
        return None
    inner = affine(e, s.inputs[0], depth - 1)
    if inner is None:
        return None
    if s.name == "view":
        index = s.parameters[0]
        return substituted(inner, index)
    if s.name == "cast":
        low, high = extent(inner, s.known.shape)
        info = np.iinfo(s.known.dtype)
        return inner if info.min <= low <= high <= info.max else None
    other = affine(e, s.inputs[1], depth - 1)
    if other is None:
        return None
    total = combined(inner, other, 1 if f == "add" else -1)
    low, high = extent(total, s.known.shape)
    info = np.iinfo(s.known.dtype)
    return total if info.min <= low <= high <= info.max else None


def combined(one: Axis, other: Axis, sign: int) -> Axis:
    """The sum of two affine expressions, or their difference."""
    steps = dict(one[1])
    for d, k in other[1]:
        steps[d] = steps.get(d, 0) + sign * k
    return one[0] + sign * other[0], tuple(sorted((d, k) for d, k in steps.items() if k))
