"""Values and adjoints that are not finite: where the first came about, and what to write instead.

The remedies are the doctor's (`remedies.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import Node

from .numbers import shown
from .record import INPUT
from .remedies import BACKWARD, FORWARD, NEAR, Case, remedy_for
from .writing import BAR, formula, marked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .explanation import Explanation
    from .flows import Contribution
    from .record import Step

NUMBERS = (float, complex, np.floating, np.complexfloating)
LOOKED = 100  # steps downstream in which a pattern may begin


def is_finite(x: Any) -> bool:
    """Whether neither NaN nor an infinity is in a value; quick for numbers."""
    if isinstance(x, NUMBERS):
        return bool(x - x == 0)  # of an infinity the difference is NaN, which equals nothing
    held = np.asarray(x)
    return held.dtype.kind not in "fc" or bool(np.isfinite(held).all())


def troubles(e: Explanation, *, backward: bool = True) -> list[str]:
    """Notes on what is not finite; none if all is."""
    with np.errstate(all="ignore"):
        bad = [s for s in e.record.steps if not is_finite(s.value)]
        notes = [value_note(bad)] if bad else []
        if backward:
            wrong = [c for c in e.flows.reverse.contributions if not is_finite(c.amount)]
            notes += [adjoint_note(e, wrong)] if wrong else []
    return notes


def value_note(bad: Sequence[Step]) -> str:
    """Where the first value that is not finite came about."""
    step = bad[0]
    more = others(len(bad) - 1, "value")
    if step.kind == INPUT:
        return f"{step.name} is {kind(step.value)} from the start{more}."
    at = first(step.value)
    case = Case(FORWARD, operands(step, at), np.asarray(step.value)[at],
                all(is_finite(i.value) for i in step.inputs))
    return told(f"{step.name} = {formula(step)} is {kind(step.value)}{place(at)}", step, case, more)


def adjoint_note(e: Explanation, wrong: Sequence[Contribution]) -> str:
    """Where the first part of an adjoint that is not finite came about."""
    c, step = wrong[0], wrong[0].user
    more = others(len({x.target for x in wrong} - {c.target}), "adjoint")
    name = marked(c.target.name, BAR)
    dy = e.flows.adjoint(step)
    if not is_finite(dy):
        return f"{name} is {kind(c.amount)}: the adjoint that it is made of was already{more}."
    cause = next((i for i in step.inputs if not is_finite(i.value)), None)
    if cause is not None:  # whose own note says more
        return f"{name} is {kind(c.amount)}, since {cause.name} is {kind(cause.value)}{more}."
    at = first(c.amount)[-len(step.shape):] if step.shape else ()
    ops = operands(step, at if step.row.elementwise else None)
    case = Case(BACKWARD, ops, element(step.value, at) if step.row.elementwise else None)
    said = f"{name} is {kind(c.amount)}, by {step.name} = {formula(step)}"
    return told(said, step, case, more)


def told(said: str, step: Step, case: Case, more: str) -> str:
    """A note with its line and its remedy."""
    spot = step.place
    where = f" (line {spot.line} of {Path(spot.file).name})" if spot.file else ""
    remedy = remedy_for(step.node, case, downstream(step)) if isinstance(step.node, Node) else ""
    return f"{said}{where}{more}." + (f" Remedy: {remedy}." if remedy else "")


def others(count: int, what: str) -> str:
    """How many more are not finite."""
    return f", and {count:,} other {what}{'s' * (count > 1)}" if count > 0 else ""


def kind(value: Any) -> str:
    """What is wrong with a value, the number itself if it is one."""
    held = np.asarray(value)
    if not held.ndim:
        return shown(value)
    nans = int(np.isnan(held).sum())
    infinite = int((~np.isfinite(held)).sum()) - nans
    parts = [f"{n:,} {what}" for n, what in ((nans, "nan"), (infinite, "inf")) if n]
    return f"not finite ({' and '.join(parts)} of {held.size:,} elements)"


def first(value: Any) -> tuple[int, ...]:
    """The index of the first element that is not finite."""
    held = np.asarray(value)
    found = np.unravel_index(int(np.argmin(np.isfinite(held))), held.shape)
    return tuple(int(k) for k in found)


def place(at: tuple[int, ...]) -> str:
    """An index in words."""
    return f", first at [{', '.join(map(str, at))}]" if at else ""


def operands(step: Step, at: tuple[int, ...] | None) -> tuple[Any, ...]:
    """The operands of an elementwise step at one element; None where they are not known."""
    known = at is not None and step.row.elementwise
    return tuple(element(i.value, at) if known and at is not None else (
        np.asarray(i.value)[()] if i.size == 1 and not i.shape else None) for i in step.inputs)


def element(value: Any, at: tuple[int, ...]) -> Any:
    """The element of an operand that broadcasting puts at ``at``; None if there is none."""
    held = np.asarray(value)
    if held.ndim > len(at):
        return None
    index = at[len(at) - held.ndim:]
    return held[tuple(k if n > 1 else 0 for k, n in zip(index, held.shape, strict=True))]


def downstream(step: Step) -> list[Any]:
    """The Nodes of the steps that use a step, directly or a few steps on."""
    found: list[Step] = []
    level = [step]
    for _ in range(2 * NEAR):
        level = [user for s in level for user, _ in s.users][:LOOKED]
        found += level
    return [s.node for s in found[:LOOKED]]
