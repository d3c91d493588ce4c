"""A step that went wrong, described: from arrays and Nodes to the text of a Finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.modes import site
from adjoint.show.places import located
from adjoint.show.remedies import BACKWARD, FORWARD, TANGENT, Case
from adjoint.show.writing import plain

from .parts import Part, Place, any_bad, bad, element, parts, place
from .report import ARRIVED, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adjoint.core.primitive import Primitive


NAMES = ("x", "z", "w")  # operands in a formula


def kind_of(value: Any) -> str:
    """What is wrong with a number."""
    return "NaN" if np.isnan(value) else "infinity"


def number(x: Any) -> str:
    """A number as Python prints it."""
    return repr(x.item() if isinstance(x, (np.generic, np.ndarray)) else x)


def described(x: Any, held: Sequence[Part], there: Place | None) -> tuple[str, Any]:
    """An operand as text, and its number at the element, None if there is not one."""
    values = [p for p in held if not p.moving]
    if isinstance(x, np.ndarray) and x.dtype.kind in "biu":
        values = [Part("", x)]
    if there is not None and values and (at := element(values[0], there)) is not None:
        slopes = [element(p, there) for p in held[1:2] if p.moving]
        moving = f", tangent {number(slopes[0])}" if slopes and slopes[0] is not None else ""
        return number(at) + moving, at
    if not values:
        return (repr(x) if isinstance(x, (int, bool)) else shape_text(x)), (
            x if isinstance(x, (int, bool)) else None)
    a = values[0].array
    if a.size == 1:
        return number(a.reshape(-1)[0]), a.reshape(-1)[0]
    return spread(a), None


def shape_text(x: Any) -> str:
    """An operand that has no floating point numbers."""
    known = getattr(x, "aval", None)
    return str(known) if known is not None else f"{getattr(x, 'dtype', type(x).__name__)} values"


def spread(a: Any) -> str:
    """An array in one line: its shape and what it holds."""
    kept = a[np.isfinite(a)]
    nan, infinite = int(np.sum(np.isnan(a))), int(np.sum(np.isinf(a)))
    span = ""
    if kept.size and a.dtype.kind == "f":
        span = f", from {number(kept.min())} to {number(kept.max())}"
    elif kept.size:
        span = f", absolute values up to {number(np.abs(kept).max())}"
    holds = [f"{count} {what}" for count, what in ((nan, "NaN"), (infinite, "infinite")) if count]
    return f"array {a.shape}{span}" + (f", {' and '.join(holds)}" if holds else "")


def enclosed(text: str) -> str:
    """A negative number in brackets, so that no formula reads wrongly."""
    return f"({text})" if text.startswith("-") else text


def written(text: str, operands: Sequence[str], y: str, params: dict[str, Any]) -> str:
    """A label of the row with numbers in the place of the arguments; empty if that fails."""
    try:
        return text.format(*operands, y=y, **params)
    except (LookupError, ValueError, TypeError):  # a label for another number of arguments
        return ""


def forward_finding(row: Primitive, args: Sequence[Any], operands: Sequence[list[Part]],
                    there: Place, params: dict[str, Any], where: Any) -> tuple[Finding, Case]:
    """A value (or tangent) that this operation made wrong."""
    told = [described(x, held, there if row.elementwise else None)
            for x, held in zip(args, operands, strict=True)]
    texts, xs = [t for t, _ in told], tuple(x for _, x in told)
    y, phase = there.value, TANGENT if there.part.moving else FORWARD
    happened = f"= {number(y)}"
    if row.elementwise and phase == FORWARD:
        formula = written(row.label.text, list(map(enclosed, texts)), number(y), params)
        happened = f"{formula or row.name + '(...)'} {happened}"
    elif phase == TANGENT:
        happened = f"{there.part.label} {happened}"
    else:
        happened = f"{row.name}(...) {happened}"
    file, line, source = located(where)
    finding = Finding(phase, kind_of(y), row.name, file, line, source, there.at,
                      tuple(there.batch.values()), there.shape, tuple(texts), happened)
    return finding, Case(phase, xs, y, not any(map(any_bad, args)))


def incoming(row: Primitive, operands: Sequence[list[Part]], infinity: bool
             ) -> tuple[Finding, None] | None:
    """A number that was wrong before the operation got it."""
    file, line, source = located(site())
    for k, held in enumerate(operands):
        for p in held:
            wrong = bad(p.array, infinity)
            if np.any(wrong):
                there = place(p, wrong)
                return Finding(
                    ARRIVED, kind_of(there.value), row.name, file, line, source, there.at,
                    tuple(there.batch.values()), there.shape,
                    tuple(spread(h[0].array) if h else "no floating point values"
                          for h in operands),
                    f"operand {k} holds {number(there.value)} there; it was not made in an "
                    "operation that was seen here: look at the data, the parameters, or what ran "
                    "before"), None
    return None


def backward_finding(n: Any, k: int | None, dy: Any, given: Sequence[Any]) -> tuple[Finding, Any]:
    """A cotangent that the rule of ``n`` made wrong for operand ``k`` (None: it began so)."""
    file, line, source = located(n.site)
    name = n.prim.name
    if k is None:
        p = next(p for p in parts(dy) if np.any(bad(p.array, infinity=True)))
        there = place(p, bad(p.array, infinity=True))
        return Finding(BACKWARD, kind_of(there.value), name, file, line, source, there.at,
                       tuple(there.batch.values()), there.shape, (),
                       f"the cotangent that arrives there is {number(there.value)}: the one that "
                       "backward() was called with, or the sum of several that are finite"), None
    p = next(p for p in parts(given[k]) if np.any(bad(p.array, infinity=True)))
    there = place(p, bad(p.array, infinity=True))
    held = [list(parts(i.value)) for i in n.inputs]
    told = [described(i.value, h, there if n.prim.elementwise else None) if i.value is not None
            else ("not kept", None) for i, h in zip(n.inputs, held, strict=True)]
    texts, xs = [t for t, _ in told], tuple(x for _, x in told)
    result = list(parts(n.value)) if n.value is not None else []
    y = element(result[0], there) if result and n.prim.elementwise else None
    slope = ""
    if n.prim.elementwise and k < len(n.prim.label.partials):
        formula = written(n.prim.label.partials[k], NAMES, "y", n.params)
        slope = f", {plain(formula)}" if formula else ""
    happened = (f"the cotangent {told_cotangent(dy, there, n)} times the derivative by operand {k}"
                f"{slope}, gives {number(there.value)}")
    return Finding(BACKWARD, kind_of(there.value), name, file, line, source, there.at,
                   tuple(there.batch.values()), there.shape, tuple(texts), happened), Case(
                       BACKWARD, xs, y)


def told_cotangent(dy: Any, there: Place, n: Any) -> str:
    """The cotangent at the element, as text."""
    held = list(parts(dy))
    if not held:
        return "that it was given"
    at = element(held[0], there) if n.prim.elementwise else None
    return number(at) if at is not None else spread(held[0].array)
