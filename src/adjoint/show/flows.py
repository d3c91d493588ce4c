"""How derivatives flow through a Record: adjoints backward, tangents forward, local partials.

The reverse flow keeps what the engine's own sweep forgets: the adjoint of every step and each
contribution to it. Of a result with several elements every adjoint is a Jacobian, with the axes of
the result first.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Level
from adjoint.core.careful import factor, has_nan, released
from adjoint.core.forward import push, spread
from adjoint.core.node import MODES, aval_of, float64
from adjoint.core.reverse import fit
from adjoint.errors import ArgumentError, ShapeError
from adjoint.ops.declare import total

from .record import DIFFERENTIATED, OPERATION, uncollected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .record import Record, Step

ELEMENTS = 1_000  # of a result: a Jacobian of more rows is no explanation
ENTRIES = 1_000_000  # of a local Jacobian
ONE = float64(1)


class EngineRules:
    """The rules of the engine's rows. A row with several results is one step with its `item`."""

    def pull(self, step: Step, dy: Any) -> Sequence[Any]:
        """The cotangents that a step gives back; a zero downstream cancels what is not finite."""
        with np.errstate(all="ignore"):  # an infinite partial is meant
            return self.quietly(step, dy)

    def quietly(self, step: Step, dy: Any) -> Sequence[Any]:
        """The same where NumPy is quiet already: to ask for it costs as much as a rule."""
        parts = self.pulled(step, dy)
        if True not in [p != p if p.__class__ is float64 else has_nan(p) for p in parts] or (
                MODES.get().strict or step.row.effects == "callback"):
            return parts
        with Level() as level:
            parts = self.pulled(step, factor(dy, level, downstream=True))
            return [released(part, level) for part in parts]

    def pulled(self, step: Step, dy: Any) -> Sequence[Any]:
        """The same, plainly."""
        y, n, inputs = step.value, step.node, step.inputs
        if n.inputs[0].prim.several:
            y = n.inputs[0].value
            (dy,) = n.prim.vjp(dy, step.value, y, (True,), **n.params)
        needs = tuple([s.kind in DIFFERENTIATED for s in inputs])
        return step.row.vjp(dy, y, *[s.value for s in inputs], needs, **step.params)

    def push(self, step: Step, dxs: Sequence[Any]) -> Any:
        """The tangent of a step, of the shape and dtype of its value."""
        n, xs = step.node, [s.value for s in step.inputs]
        if n.inputs[0].prim.several:
            y = n.inputs[0].value
            dy = push(step.row, dxs, y, xs, step.params)
            return None if dy is None else n.prim.jvp([dy], step.value, y, **n.params)
        dy = push(step.row, dxs, step.value, xs, step.params)
        return None if dy is None else spread(dy, aval_of(step.value), step.row)


class TaughtRules:
    """The rules of the teaching classes: what a subclass says in ``grads`` or ``vjp``."""

    def pull(self, step: Step, dy: Any) -> Sequence[Any]:
        """What the class gives back, of numbers as NumPy's."""
        with np.errstate(all="ignore"):
            return self.quietly(step, dy)

    def quietly(self, step: Step, dy: Any) -> Sequence[Any]:
        """The same where NumPy is quiet already."""
        made = step.node
        parts = made.vjp(np.asarray(dy)[()], *made.args)
        return [np.asarray(p, float)[()] if s.differentiated else None
                for p, s in zip(parts, step.inputs, strict=True)]

    def push(self, step: Step, dxs: Sequence[Any]) -> Any:
        """The sum of the partials that the class gives, each times its tangent."""
        partials = step.node.grads(*step.node.args)
        return total([None if dx is None else dx * p for dx, p in zip(dxs, partials, strict=True)])


class Contribution(NamedTuple):
    """What one use of ``target`` (as the input at ``position`` of ``user``) adds to its adjoint.

    ``total`` is the adjoint of ``target`` so far, and ``first`` says whether this is the first
    part: it is assigned, later ones are added.
    """

    target: Step
    user: Step
    position: int
    amount: Any
    total: Any
    first: bool


class Reverse:
    """One sweep back from the output, with every contribution written down."""

    @uncollected()
    def __init__(self, record: Record, cotangent: Any = None) -> None:
        self.record, self.seed = record, seed_of(record.output, cotangent)
        self.adjoints: dict[Step, Any] = {record.output: self.seed}
        self.contributions: list[Contribution] = []
        self.lead = lead = self.seed.ndim - len(record.output.shape)
        with np.errstate(all="ignore"):  # inf - inf is marked where it is shown
            for step in reversed(record.behind([record.output])):
                if step.kind == OPERATION and step in self.adjoints:
                    self.through(step, lead)

    def through(self, step: Step, lead: int) -> None:
        """Pull the adjoint of ``step`` back to its inputs."""
        adjoints = self.adjoints
        parts = quietly_back(self.record, step, adjoints[step], lead)
        for k, (source, amount) in enumerate(zip(step.inputs, parts, strict=True)):
            if amount is not None and source.kind in DIFFERENTIATED:
                before = adjoints.get(source)
                adjoints[source] = so_far = amount if before is None else before + amount
                self.contributions.append(
                    Contribution(source, step, k, amount, so_far, before is None))


def pulled_back(record: Record, step: Step, dy: Any, lead: int) -> list[Any]:
    """The cotangent ``dy`` of a step, back at each input; its first ``lead`` axes are a batch."""
    with np.errstate(all="ignore"):
        return quietly_back(record, step, dy, lead)


def quietly_back(record: Record, step: Step, dy: Any, lead: int) -> list[Any]:
    """The same where NumPy is quiet already."""
    if not lead:
        return [None if p is None else fitted(p, source, step)
                for p, source in zip(record.rules.quietly(step, dy), step.inputs, strict=True)]
    rows = [[None if p is None else fitted(p, source, step) for p, source in zip(
        record.rules.quietly(step, row), step.inputs, strict=True)]
        for row in dy.reshape(math.prod(dy.shape[:lead]), *step.shape)]
    return [stacked([row[k] for row in rows], source, dy.shape[:lead])
            for k, source in enumerate(step.inputs)]


def seed_of(output: Step, cotangent: Any) -> Any:
    """What the sweep begins with: 1, the identity for a result with axes, or a cotangent."""
    if cotangent is not None:
        seed = np.asarray(cotangent, output.dtype)
        if seed.shape != output.shape:
            raise ShapeError(f"explain(cotangent): it has shape {seed.shape}, the result "
                             f"{output.shape}; they are equal")
        return seed
    if output.size > ELEMENTS:
        raise ArgumentError(
            f"explain: the result has {output.size:,} elements, and the adjoint of each step one "
            f"row for every one of them; at most {ELEMENTS:,} are shown. Return a number (a "
            "loss), or give cotangent=v, an array of the result's shape, for v times the Jacobian")
    one = np.eye(output.size, dtype=output.dtype)
    return one.reshape(output.shape + output.shape)


def fitted(part: Any, source: Step, step: Step) -> Any:
    """A cotangent in the shape and dtype of the input that it belongs to."""
    if part.__class__ is float64 and source.value.__class__ is float64:
        return part
    part = np.asarray(part)[()]
    return fit(part, aval_of(np.asarray(source.value)), step.row)


def stacked(column: Sequence[Any], source: Step, lead: tuple[int, ...]) -> Any:
    """The cotangents of one input, one for each element of the result, as one array."""
    if column and all(part is None for part in column):
        return None
    nothing = np.zeros(source.shape, source.dtype)
    return np.reshape([nothing if part is None else part for part in column],
                      lead + source.shape).astype(source.dtype, copy=False)


def forward(record: Record, wrt: Step, tangent: Any = None) -> dict[Step, Any]:
    """The tangent of each step that depends on ``wrt``: one pass for each element of ``wrt``.

    Without ``tangent`` that of a step is its Jacobian, the axes of ``wrt`` last; with it (an array
    of the shape of ``wrt``) the derivative in that direction.
    """
    if tangent is not None:
        seed = np.asarray(tangent, wrt.dtype)
        if seed.shape != wrt.shape:
            raise ShapeError(f"forward(tangent): it has shape {seed.shape}, {wrt.name} "
                             f"{wrt.shape}; they are equal")
        return pushed(record, wrt, seed[()])
    if wrt.size > ELEMENTS:
        raise ArgumentError(
            f"forward: {wrt.name} has {wrt.size:,} elements, and forward mode needs a pass for "
            f"each; at most {ELEMENTS:,} are made. Give tangent=v for the direction v")
    seeds = np.eye(wrt.size, dtype=wrt.dtype).reshape(wrt.size, *wrt.shape)
    passes = [pushed(record, wrt, seed[()]) for seed in seeds]
    if not wrt.shape:
        return passes[0]
    found = dict.fromkeys(s for one in passes for s in one) if passes else record.after(wrt)
    return {s: np.stack([np.broadcast_to(p.get(s, 0.0), s.shape) for p in passes], -1).reshape(
        s.shape + wrt.shape) if passes else np.zeros(s.shape + wrt.shape) for s in found}


def pushed(record: Record, wrt: Step, seed: Any) -> dict[Step, Any]:
    """One pass of forward mode."""
    tangents: dict[Step, Any] = {wrt: seed}
    for step in record.after(wrt):
        if step.kind == OPERATION and step is not wrt:
            dy = record.rules.push(step, [tangents.get(i) for i in step.inputs])
            if dy is not None:
                tangents[step] = dy
    return tangents


def local(record: Record, step: Step, position: int) -> Any:
    """The partial derivative of a step by one of its inputs.

    A number between numbers; between arrays of an elementwise row the partial at each element, in
    the shape of the result; otherwise the Jacobian, shape(step) + shape(input). None where the
    input has no derivative, or the Jacobian more than a million entries.
    """
    source = step.inputs[position]
    if not source.differentiated:
        return None
    if step.is_hook:  # whose function is the user's, and is asked in the sweep alone
        return np.eye(step.size).reshape(2 * step.shape)[()] if step.size**2 <= ENTRIES else None
    if step.row.elementwise and source.shape != step.shape:  # a pullback may have summed already
        ones: list[Any] = [None] * len(step.inputs)
        ones[position] = np.ones(source.shape, source.dtype)[()]
        part = record.rules.push(step, ones)
        return np.zeros(step.shape)[()] if part is None else np.broadcast_to(part, step.shape)[()]
    if step.row.elementwise or step.size == source.size == 1:
        part = record.rules.pull(step, cotangent_of_ones(step))[position]
        if part is None:
            return np.zeros(step.shape)[()]
        return np.broadcast_to(np.asarray(part), step.shape)[()] if step.row.elementwise else (
            np.asarray(part).reshape(())[()])
    return jacobian(record, step, position)


def cotangent_of_ones(step: Step) -> Any:
    """Ones in the shape and dtype of a step."""
    return ONE if step.value.__class__ is float64 else np.ones(step.shape, step.dtype)[()]


def jacobian(record: Record, step: Step, position: int) -> Any:
    """The Jacobian of a step by one of its inputs, shape(step) + shape(input), row by row."""
    source = step.inputs[position]
    if step.size * source.size > ENTRIES:
        return None
    rows: list[Any] = []
    for one in np.eye(step.size, dtype=step.dtype).reshape(step.size, *step.shape):
        part = record.rules.pull(step, one[()])[position]
        rows.append(np.zeros(source.shape) if part is None else fitted(part, source, step))
    return np.reshape(rows, step.shape + source.shape)[()]


class Flows:
    """The flows of one Record, each made when first asked for."""

    def __init__(self, record: Record, cotangent: Any = None) -> None:
        self.record, self.cotangent = record, cotangent
        self.tangents: dict[tuple[Step, Any], dict[Step, Any]] = {}
        self.partials: dict[tuple[Step, int], Any] = {}

    @cached_property
    def seed(self) -> Any:
        """What the sweep back begins with."""
        return seed_of(self.record.output, self.cotangent)

    @cached_property
    def reverse(self) -> Reverse:
        """The sweep back from the output."""
        return Reverse(self.record, self.cotangent)

    def adjoint(self, step: Step) -> Any:
        """The adjoint of a step; zeros if the output does not depend on it."""
        found = self.reverse.adjoints.get(step)
        if found is not None:
            return found
        return np.zeros(self.reverse.seed.shape[:self.reverse.lead] + step.shape)[()]

    def forward(self, wrt: Step, tangent: Any = None) -> dict[Step, Any]:
        """The tangents of all steps that depend on ``wrt``."""
        given = None if tangent is None else np.asarray(tangent)
        key = (wrt, None if given is None else (given.shape, given.dtype, given.tobytes()))
        if key not in self.tangents:
            self.tangents[key] = forward(self.record, wrt, given)
        return self.tangents[key]

    def tangent(self, step: Step, wrt: Step, tangent: Any = None) -> Any:
        """The tangent of a step; zeros if it does not depend on ``wrt``."""
        found = self.forward(wrt, tangent).get(step)
        ahead = wrt.shape if tangent is None else ()
        return np.zeros(step.shape + ahead)[()] if found is None else found

    def local(self, step: Step, position: int) -> Any:
        """The local partial of a step by one of its inputs, see `local`."""
        if (step, position) not in self.partials:
            self.partials[step, position] = local(self.record, step, position)
        return self.partials[step, position]

    def partial(self, step: Step, source: Step) -> Any:
        """The partial by an input, summed over the places where it stands."""
        places = [k for k, s in enumerate(step.inputs) if s is source]
        if not places:
            raise ArgumentError(f"{step.name} is not computed from {source.name} directly, only "
                                f"from {', '.join(s.name for s in step.inputs)}; paths("
                                f"{source.name!r}, {step.name!r}) shows the way")
        parts = [self.local(step, k) for k in places]
        return None if None in [p if p is None else 0 for p in parts] else sum(parts)

    def entries(self, step: Step, position: int) -> Any:
        """The Jacobian of a step by one input as a matrix: (elements of step, of input)."""
        source, found = step.inputs[position], self.local(step, position)
        if found is None:
            return None
        if not step.row.elementwise:
            return np.reshape(found, (step.size, source.size))
        where = np.broadcast_to(np.arange(source.size).reshape(source.shape), step.shape)
        matrix = np.zeros((step.size, source.size), np.asarray(found).dtype)
        matrix[np.arange(step.size), where.ravel()] = np.ravel(found)
        return matrix
