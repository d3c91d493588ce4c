"""Words about a gradient: why it is zero, what carries it, where it vanishes or explodes.

Everything said is read off the contributions of the sweep: a part that is zero although what is
downstream of it is not has met a partial of zero, and the step that has it is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import Node
from adjoint.core.primitive import CONSTANT as CONSTANT_ROW

from .complexes import is_complex
from .hooks import changed
from .numbers import shown
from .record import CONSTANT, INPUT, SKIPPED, uncollected
from .writing import formula, partial_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .explanation import Explanation
    from .flows import Contribution
    from .record import Step

SMALL = 1e-2  # a partial below it has lost most of the gradient
CHANGE = 1e3  # an adjoint that changes by more along the way vanishes or explodes
NEAR = 1e-3  # how far from an extremum one looks
SAID = 6  # findings of one kind that are written out
HALF = 0.5
DEEP = 3  # steps with shares in between, before depth is spoken of


@dataclass(frozen=True)
class Reason:
    """One thing found: its kind, the step that it is about, and the sentence.

    ``kind`` is one of "gradient", "skipped", "unused", "cut", "dead", "masked", "zero factor",
    "saturated", "cancels", "path", "vanishes", "explodes", "hook", "not finite". ``count`` of
    ``size`` elements are concerned.
    """

    kind: str
    step: Step
    text: str
    count: int = 1
    size: int = 1


class Why:
    """What there is to say about the gradient of a step: ``reasons``, printed as sentences."""

    def __init__(self, e: Explanation, step: Step, reasons: Sequence[Reason]) -> None:
        self.explanation, self.step, self.reasons = e, step, list(reasons)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the reasons, in order."""
        return [r.kind for r in self.reasons]

    def __str__(self) -> str:
        return "\n".join(r.text for r in self.reasons)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape

        from .cells import clean
        lines = "".join(f"<li>{escape(clean(r.text))}</li>" for r in self.reasons)
        return f'<ul class="adjoint-why">{lines}</ul>'


@uncollected()
def why(e: Explanation, step: Step) -> Why:
    """What there is to say about the gradient of ``step``."""
    if step.kind in {CONSTANT, SKIPPED}:
        return Why(e, step, [skipped(step)])
    way = between(e, step)
    if e.record.output not in way:
        return Why(e, step, list(unreached(e, step)))
    answered = list(hooked(e, way))
    reasons = [gradient(e, step, hooked=bool(answered)), *not_finite(e, step)]
    if len(way) > 1 and len(reasons) == 1:
        gone = list(cancels(e, step))
        reasons += [*answered, *losses(e, step, way), *gone, *carried(e, step, way),
                    *detached(e, step, way)]
        reasons += [] if gone else depth(e, step, way)  # what cancels has not vanished on its way
    return Why(e, step, reasons)


def between(e: Explanation, step: Step) -> dict[Step, None]:
    """The steps on a way from ``step`` to the result, both included, in order."""
    behind = set(e.record.behind([e.record.output]))
    return dict.fromkeys(s for s in e.record.after(step) if s in behind)


# ---- no gradient

def skipped(step: Step) -> Reason:
    """A value that no gradient was asked of."""
    what = "an argument" if step.kind == SKIPPED else "a constant"
    return Reason("skipped", step, f"{step.name} is {what}: no gradient was asked of it. Make it a "
                  f"leaf with ad.tensor({step.name}, requires_grad=True), or give it as a float or "
                  "an array of floats.")


def unreached(e: Explanation, step: Step) -> Iterator[Reason]:
    """Why the result does not depend on a step."""
    name, after = step.name, set(e.record.after(step))
    yield Reason("gradient", step, f"d{e.record.output.name}/d{name} = 0: no way leads from {name} "
                 f"to the result {e.record.output.name}.")
    found = [c for c in e.record.cuts if c.source in after]
    for cut in found[:SAID]:
        how = (f"{cut.row} ({cut.place}) makes a constant of it" if cut.row is not CONSTANT_ROW else
               "its value goes on as a constant: it was detached (.detach(), .data or .numpy())")
        what = "" if cut.source is step else f", which is computed from {name}"
        yield Reason("cut", cut.source, f"{cut.source.name}{what}: {how}.")
    if found:
        return
    if not step.users:
        yield Reason("unused", step, f"Nothing is computed from {name}.")
        return
    ends = [s.name for s in after if not s.users][:SAID]
    yield Reason("unused", step, f"What is computed from {name} ends in {', '.join(ends)}, which "
                 f"{e.record.output.name} does not need.")


# ---- what the gradient is

def gradient(e: Explanation, step: Step, *, hooked: bool = False) -> Reason:
    """The gradient in one line; what a hook has changed is no derivative."""
    found, size = np.asarray(e.adjoint(step)), np.size(e.adjoint(step))
    zeros = int(np.sum(found == 0))
    result = e.record.output.name if e.flows.cotangent is None else (
        f"(u\u00b7{e.record.output.name})")  # u is the cotangent that was given
    result = f"Re({result})" if is_complex(e.record.output) else result
    sign = f"d{result}/d{step.name}"
    if is_complex(step):
        sign = f"d{result}/dRe({step.name}) - i d{result}/dIm({step.name})"
    sign = f"The adjoint of {step.name}" if hooked else sign
    text = f"{sign} = {shown(found[()])}"
    if size > 1 and zeros:
        text += f"; {zeros:,} of its {size:,} elements {'is' if zeros == 1 else 'are'} 0"
    return Reason("gradient", step, text + ".", zeros, size)


def not_finite(e: Explanation, step: Step) -> Iterator[Reason]:
    """A gradient that is not finite: where that began."""
    output = e.record.output
    if np.isfinite(e.adjoint(step)).all() and np.isfinite(output.value).all():
        return
    for s in e.record.steps:
        if not np.isfinite(s.value).all():
            yield Reason("not finite", s, "Not everything is finite: the first value that is "
                         f"not is {s.name} = {formula(s)} = {shown(s.value)} ({s.place}). "
                         "ad.diagnose(f, ...) says what to write instead.")
            return
    for c in e.flows.reverse.contributions:
        if not np.isfinite(c.amount).all():
            yield Reason("not finite", c.user, f"It is not finite: the values are, but the partial "
                         f"{partial_text(c.user, c.position)} of {c.user.name} = "
                         f"{formula(c.user)} ({c.user.place}) is not there. ad.diagnose(f, ...) "
                         "says what to write instead.")
            return


def hooked(e: Explanation, way: dict[Step, None]) -> Iterator[Reason]:
    """Hooks that have answered another cotangent than they were given."""
    for c in islice(changed(e.flows, way), SAID):
        yield Reason("hook", c.user, f"A hook on {c.user.name} turns {shown(e.adjoint(c.user))} "
                     f"into {shown(c.amount)} on the way back: what arrives is not the derivative, "
                     "which e.forward() has.")


def losses(e: Explanation, step: Step, way: dict[Step, None]) -> Iterator[Reason]:
    """Steps on the way whose partial is zero, or nearly so, where the adjoint is not."""
    said = 0
    for c in e.flows.reverse.contributions:
        if c.target in way and c.user in way and said < SAID:
            reason = lost(e, c)
            if reason is not None:
                said += 1
                yield reason


def lost(e: Explanation, c: Contribution) -> Reason | None:
    """What one contribution loses, if it loses much."""
    adjoint, amount = e.flows.adjoint(c.user), c.amount
    if is_number(amount) and is_number(adjoint) and (
            adjoint == 0 or (SMALL * abs(adjoint) <= abs(amount) and amount != 0)):
        return None  # it loses little, or has nothing to lose: nearly all of a long program
    adjoint, amount = np.asarray(adjoint), np.asarray(amount)
    if not c.user.row.elementwise:
        return zero_operand(c) if (amount == 0).any() and adjoint.all() else None
    if adjoint.shape != amount.shape:
        return None
    there = adjoint != 0
    zero = there & (amount == 0)
    if zero.any():
        return zero_partial(e, c, zero, int(there.sum()))
    with np.errstate(all="ignore"):
        small = there & (np.abs(amount) < SMALL * np.abs(adjoint))
    count, size = int(small.sum()), int(there.sum())
    if len(c.user.inputs) > 1 or 2 * count < size or not count:
        return None
    where = first_at(c, small)
    return Reason("saturated", c.user, f"{head(c)} is saturated{portion(count, size)}: its "
                  f"partial {partial_text(c.user, c.position)} is below {SMALL:g} there{where}.",
                  count, size)


def zero_partial(e: Explanation, c: Contribution, zero: Any, size: int) -> Reason:
    """A partial that is exactly zero: a flat side, a mask, or a factor of zero."""
    count, where = int(zero.sum()), first_at(c, zero)
    others = [s for k, s in enumerate(c.user.inputs) if k != c.position]
    if at_kink(c, zero):
        kind, what = "dead", "is at its kink, where its slope is taken to be 0"
    elif c.user.row.kink is not None:
        kind, what = "dead", "is dead (on its flat side)"
    elif not others:
        kind, what = "saturated", "is saturated" if stands_still(c, zero) else "is level"
    elif any(s.dtype.kind == "b" for s in others):
        kind, what = "masked", "takes the other value (masked)"
    else:
        kind, what = "zero factor", "multiplies with 0" if any(
            np.all(np.broadcast_to(np.equal(s.value, 0), zero.shape)[zero]) for s in others) else (
            "is level")
    text = (f"{head(c)} {what}{portion(count, size)}: the partial "
            f"{partial_text(c.user, c.position)} is 0 there{where}.")
    return Reason(kind, c.user, text, count, size)


def at_kink(c: Contribution, zero: Any) -> bool:
    """Whether the one-sided derivatives differ at every element where the partial is zero."""
    step = c.user
    if step.row.kink is None or step.picked is not None:
        return False
    mask = step.row.kink(*[s.value for s in step.inputs], **step.params)
    return bool(np.all(np.broadcast_to(mask, zero.shape)[zero]))


def stands_still(c: Contribution, zero: Any) -> bool:
    """Whether a step does not move either near where its partial is zero: a tanh, no cosine."""
    step = c.user
    if not isinstance(step.node, Node) or step.row.impl is None:
        return False
    with np.errstate(all="ignore"):
        moved = step.row.impl(*[np.add(s.value, NEAR) for s in step.inputs], **step.params)
    same = np.isclose(moved, step.value, rtol=NEAR**4, atol=0.0)
    return bool(np.all(np.broadcast_to(same, zero.shape)[zero]))


def zero_operand(c: Contribution) -> Reason | None:
    """A product that is no elementwise one, with an operand that has zeros."""
    for k, s in enumerate(c.user.inputs):
        zeros = int(np.sum(np.asarray(s.value) == 0))
        if k != c.position and zeros and s.dtype.kind in "fc":
            return Reason("zero factor", c.user, f"{head(c)} multiplies with {s.name}, which is "
                          f"0{portion(zeros, s.size)}.", zeros, s.size)
    return None


def head(c: Contribution) -> str:
    """A step with its formula and its line."""
    place = c.user.place
    return f"{c.user.name} = {formula(c.user)}" + (f" ({place})" if place.file else "")


def portion(count: int, size: int) -> str:
    """At so many of so many elements; of one there is nothing to say."""
    return "" if size == 1 else f" at {count:,} of {size:,} elements"


def first_at(c: Contribution, mask: Any) -> str:
    """The input at the first element where ``mask`` holds, as an example."""
    value = np.asarray(c.target.value)
    at = tuple(np.argwhere(mask)[0][mask.ndim - value.ndim:])
    if not value.ndim:
        return f" ({c.target.name} = {shown(value[()])})"
    index = ", ".join(str(int(k)) for k in at)
    return f" (first at {c.target.name}[{index}] = {shown(value[at])})"


def cancels(e: Explanation, step: Step) -> Iterator[Reason]:
    """Parts that are not zero and add up to zero."""
    parts = [c.amount for c in e.flows.reverse.contributions if c.target is step]
    if len(parts) < 2:
        return
    total, sizes = np.asarray(e.adjoint(step)), np.sum([np.abs(p) for p in parts], axis=0)
    gone = (sizes > 0) & (np.abs(total) <= 4 * np.finfo(total.dtype).eps * sizes)
    if gone.any():
        count, size = int(gone.sum()), int(np.size(gone))
        yield Reason("cancels", step, f"The {len(parts)} parts that reach {step.name} cancel"
                     f"{portion(count, size)}: each is not 0, their sum is.", count, size)


def carried(e: Explanation, step: Step, way: dict[Step, None]) -> Iterator[Reason]:
    """The way that carries most: at each fork the part with the largest norm is followed."""
    parts: dict[Step, dict[Step, float]] = {}
    for c in e.flows.reverse.contributions:
        if c.target in way:
            users = parts.setdefault(c.target, {})
            users[c.user] = users.get(c.user, 0.0) + norm(c.amount)
    path, share = [step], 1.0
    while path[-1] in parts:
        users = parts[path[-1]]
        largest = max(users, key=lambda user: users[user])
        share *= users[largest] / (sum(users.values()) or 1.0)
        path.append(largest)
    if 0.0 < share < 1.0 and np.any(e.adjoint(step)):
        names = [s.name for s in path]
        if len(names) > 2 * SAID:
            names = [*names[:SAID], f"... {len(names) - 2 * SAID} more ...", *names[-SAID:]]
        what = "Most goes" if share > HALF else "The largest part goes"
        yield Reason("path", step, f"{what} by {' -> '.join(names)}: it has the largest part at "
                     f"each fork, {share:.0%} of the sum of all parts' sizes.")


def detached(e: Explanation, step: Step, way: dict[Step, None]) -> Iterator[Reason]:
    """Values behind a step that go on as constants: no derivative is taken through them."""
    cuts = [c.source for c in e.record.cuts if c.row is CONSTANT_ROW]
    reached = set(e.record.after(step)) if cuts else way
    found = dict.fromkeys(source for source in cuts if source in reached)
    for source in list(found)[:SAID]:
        what = "" if source is step else f", which is computed from {step.name},"
        yield Reason("cut", source, f"The value of {source.name}{what} also goes on as a constant: "
                     "it was detached (.detach(), .data or .numpy()): nothing comes back there.")


def depth(e: Explanation, step: Step, way: dict[Step, None]) -> Iterator[Reason]:
    """Whether the adjoint vanishes or explodes along the way, and the step that changes it most."""
    sizes = [(s, typical(e.flows.adjoint(s))) for s in way if s is step or s.size > 0]
    sizes = [(s, x) for s, x in sizes if x > 0]
    if len(sizes) < DEEP:
        return
    first, last = sizes[0][1], sizes[-1][1]
    change = first / last
    if 1 / CHANGE < change < CHANGE:
        return
    kind, verb = ("vanishes", "shrinks") if change < 1 else ("explodes", "grows")
    rate = change ** (1 / (len(sizes) - 1))
    worst = extreme(e, way, shrinks=change < 1)
    text = (f"The gradient {kind} on its way back: the typical adjoint {verb} from {shown(last)} "
            f"at {sizes[-1][0].name} to {shown(first)} at {step.name}, by a factor of "
            f"{shown(rate)} a step over {len(sizes) - 1:,} steps")
    if worst is not None:
        text += f"; the most at {worst.name} = {formula(worst)} ({worst.place})"
    yield Reason(kind, step, text + ".")


def extreme(e: Explanation, way: dict[Step, None], *, shrinks: bool) -> Step | None:
    """The step at which a part changes most against the adjoint that it comes from."""
    found: list[tuple[float, int, Step]] = []
    for k, c in enumerate(e.flows.reverse.contributions):
        if c.target in way and c.user in way:
            above, below = typical(e.flows.adjoint(c.user)), typical(c.amount)
            if above > 0 and below > 0:
                found.append((below / above, k, c.user))
    if not found:
        return None
    return (min if shrinks else max)(found)[2]


def norm(x: Any) -> float:
    """The Euclidean norm of all elements."""
    return float(abs(x)) if is_number(x) else float(np.linalg.norm(np.ravel(x)))


def is_number(x: Any) -> bool:
    """Whether it has no axes; a long program of numbers asks this of every step."""
    return x.__class__ is np.float64 or not np.ndim(x)


def typical(x: Any) -> float:
    """The root of the mean square."""
    if is_number(x):
        return float(abs(x))
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(np.abs(x))))) if np.size(x) else 0.0


# ---- all inputs

class Whys:
    """What there is to say about the gradient of every input."""

    def __init__(self, found: Sequence[Why]) -> None:
        self.found = list(found)

    def __getitem__(self, name: str) -> Why:
        return next(w for w in self.found if w.step.name == name)

    def __str__(self) -> str:
        return "\n\n".join(f"{w.step.name}\n" + "\n".join(
            f"  {line}" for line in str(w).splitlines()) for w in self.found)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from html import escape

        from .cells import clean
        return "".join(f"<p><b>{escape(clean(w.step.name))}</b></p>{w._repr_html_()}"
                       for w in self.found)


def all_whys(e: Explanation) -> Whys:
    """A Why for every input, and for the arguments that no gradient was asked of."""
    skipped_ones = [s for s in e.record.constants if s.kind == SKIPPED]
    return Whys([why(e, s) for s in e.record.steps if s.kind == INPUT] + [
        why(e, s) for s in skipped_ones])
