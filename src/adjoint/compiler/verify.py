"""Loops unrolled again: the proof that re-rolling changed nothing, and its explanation in print.

`unrolled` writes a Program with each turn of its loops as statements. `proved` writes the old
Program and the unrolled new one with one interner, where equal statements are one: the results are
equal if they are the same statements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval

from .editor import Writer, compacted, rewritten
from .moves import apart
from .program import Program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .program import Statement


class UnknownRow(Exception):  # noqa: N818 - nobody sees it: the old Program stays
    """A loop's stacked result is read as a whole, so that there is no statement for it."""


def unrolled(program: Program) -> Program:
    """The Program with every turn of its loops written out; what re-rolling began with.

    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.compiler.reroll import rerolled
    >>> from adjoint.compiler.verify import unrolled
    >>> from adjoint.core.node import aval_of
    >>> b = ProgramBuilder()
    >>> x = y = b.input(aval_of(np.ones(3)))
    >>> for _ in range(40):
    ...     y = b.elementwise("sin", y)
    >>> b.program.outputs = [y.number]
    >>> len(rerolled(b.program).statements), len(unrolled(rerolled(b.program)).statements)
    (3, 41)
    """
    w = Writer()
    given = [w.input(program.statements[n].known) for n in program.inputs]
    w.program.outputs = Unroller(w, set()).results(program, given)
    return compacted(w.program, program)


def proved(after: Program, before: Program) -> bool:
    """Whether one Program is the other with loops: the same statements when it is unrolled.

    Loops of the old Program stay as they are.
    """
    w = Writer()
    given = [w.input(before.statements[n].known) for n in before.inputs]
    unroller = Unroller(w, {id(s.parameters[0]) for s in before.statements if s.name == "loop"})
    try:
        return unroller.results(before, given) == unroller.results(after, given)
    except UnknownRow:
        return False


class Unroller:
    """Writes Programs with their loops turn by turn, but for loops whose bodies are ``kept``."""

    def __init__(self, writer: Writer, kept: set[int]) -> None:
        self.writer, self.kept = writer, kept
        self.live: dict[int, list[int]] = {}

    def results(self, program: Program, given: Sequence[Any]) -> list[Any]:
        """The results of a Program whose inputs are statements that are there."""
        found: dict[int, Any] = dict(zip(program.inputs, given, strict=True))
        live = self.live.get(id(program))
        if live is None:
            live = self.live[id(program)] = program.live()
        statements = program.statements
        stacks = {n for n, value in found.items() if isinstance(value, Stack)}
        for n in live:
            if n in found:
                continue
            name, inputs, parameters, _ = statements[n]
            if name == "loop" and id(parameters[0]) not in self.kept and (
                    isinstance(parameters[0], Program)):
                found[n] = self.loop(parameters, [found[i] for i in inputs])
            elif name == "item" and isinstance(found[inputs[0]], tuple):
                found[n] = found[inputs[0]][parameters[0]]
            elif stacks.isdisjoint(inputs):
                found[n] = rewritten(self.writer, program, n, found)
                continue
            elif name == "view":
                found[n] = found[inputs[0]].seen(self.writer, *parameters)
            else:
                found[n] = self.on_stacks(statements[n], [found[i] for i in inputs])
            if isinstance(found[n], Stack):
                stacks.add(n)
        return [found[n] for n in program.outputs]

    def on_stacks(self, s: Statement, given: list[Any]) -> Any:
        """What is known of arrays of all turns: put apart into zeros, they can be added in turn.

        Where turns write to different places, a sum of their pads is the pad of all. To an element
        that is not written 0 is added; so of what is written, 0 and -0 need not be told apart.
        """
        w = self.writer
        if s.name == "pad" and isinstance(given[0], Stack):
            return given[0].padded(w, *s.parameters)
        if s.name == "elementwise" and s.parameters == ("add",):
            x, z = given
            if isinstance(x, Stack) and not isinstance(z, Stack):
                if isinstance(x, Pads):
                    return self.chain([(pad, 0) for pad in x.turns], z)
                if z in w.numbers and w.numbers[z] == 0:
                    return Raised(x.turns)
            if isinstance(z, Pads) and not isinstance(x, Stack):
                return self.chain([(pad, 1) for pad in z.turns], x)
        raise UnknownRow

    def chain(self, pads: list[tuple[int, int]], total: int) -> int:
        """A sum to which one pad after the other is added, as this operand."""
        for pad, place in pads:
            both = (pad, total) if place == 0 else (total, pad)
            total = self.writer.map("add", *both)
        return total

    def loop(self, parameters: tuple[Any, ...], given: list[Any]) -> tuple[Any, ...]:
        """The results of a loop, turn by turn."""
        body, count, carries, *rest = parameters
        whole = len(given) - (rest[0] if rest else 0)
        state, stacks = given[:carries], [list[Any]() for _ in body.outputs[carries:]]
        for t in range(count):
            rows = [row(self.writer, x, t) for x in given[carries:whole]]
            out = self.results(body, [*state, *rows, *given[whole:]])
            state = out[:carries]
            for stack, value in zip(stacks, out[carries:], strict=True):
                stack.append(value)
        return (*state, *[Stack(s) for s in stacks])


class Stack:
    """The results of all turns, one statement for each: the array that they make is none."""

    __slots__ = ("turns",)

    def __init__(self, turns: list[Any]) -> None:
        self.turns = turns

    def padded(self, w: Writer, index: Any, shape: Any, fill: Any) -> Any:
        """Each turn in its own place among zeros."""
        known = w.statements[self.turns[0]].known
        if fill != 0 or np.signbit(fill) or not apart(index, (len(self.turns), *known.shape)):
            raise UnknownRow
        alone, pads = aval(shape, known.dtype), list[int]()
        for t, value in enumerate(self.turns):
            at = tuple([(o + sum(k * t for d, k in terms if d == 0),
                         tuple([(d - 1, k) for d, k in terms if d])) for o, terms in index])
            pads.append(w.made("pad", (value,), (at, shape, fill), alone))
        return Pads(pads)

    def seen(self, w: Writer, index: Any, shape: Any) -> Any:
        """One turn of it, seen through a view; or all of its turns in another order."""
        (first, terms), *rest = index
        if not terms:
            return w.view(self.turns[first], tuple(rest), shape)
        if len(terms) > 1 or terms[0][0] or any(d == 0 for _, inner in rest for d, _ in inner):
            raise UnknownRow
        step = terms[0][1]
        below = tuple([(o, tuple([(d - 1, k) for d, k in inner])) for o, inner in rest])
        return Stack([w.view(self.turns[first + step * t], below, shape[1:])
                      for t in range(shape[0])])


class Raised(Stack):
    """The results of all turns plus 0: good for a `Pads` only, whose sums do not see the sign."""

    def seen(self, w: Writer, index: Any, shape: Any) -> Any:
        """Not known."""
        raise UnknownRow


class Pads(Raised):
    """The results of all turns, each in its own place among zeros: good for a sum only."""

    def padded(self, w: Writer, index: Any, shape: Any, fill: Any) -> Any:
        """Not known."""
        raise UnknownRow


def row(w: Writer, x: Any, t: int) -> Any:
    """Row t of an array."""
    if isinstance(x, Stack):
        if isinstance(x, Raised):
            raise UnknownRow
        return x.turns[t]
    s = w.statements[x]
    if s.name == "const" and len(s.known.shape) == 1:
        return w.const(np.asarray(w.program.constants[s.parameters[0]])[t])
    shape = s.known.shape[1:]
    return w.view(x, ((t, ()), *[(0, ((d, 1),)) for d in range(len(shape))]), shape)
