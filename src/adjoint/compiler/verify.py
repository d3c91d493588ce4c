"""Loops unrolled again: the proof that re-rolling changed nothing, and its explanation in print.

`unrolled` writes a Program with each turn of its loops as statements. `proved` writes the old
Program and the unrolled new one with one interner, where equal statements are one: the results are
equal if they are the same statements.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval

from .editor import Writer, compacted, rewritten
from .facts import affine, never_minus_zero
from .moves import apart
from .program import Program
from .views import normal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .program import Statement


ADD = ("add",)


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
    kept = {id(s.parameters[0]) for s in before.statements if s.name == "loop"}
    unroller = Unroller(w, kept, ordered=False)
    try:
        return unroller.results(before, given) == unroller.results(after, given)
    except UnknownRow:
        return False


class Unroller:
    """Writes Programs with their loops turn by turn, but for loops whose bodies are ``kept``."""

    def __init__(self, writer: Writer, kept: set[int], *, ordered: bool = True) -> None:
        self.writer, self.kept, self.ordered = writer, kept, ordered
        self.judge: Any = writer  # for who asks for facts
        self.live: dict[int, list[int]] = {}
        self.sums: dict[int, tuple[list[int], int]] = {}  # of pads: base, and number of their set

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
                found[n] = rewritten(self.writer, program, n, found) if parameters != ADD else (
                    self.added(found[inputs[0]], found[inputs[1]], statements[n].known))
                continue
            elif name == "view":
                found[n] = found[inputs[0]].seen(self.writer, *parameters)
            else:
                found[n] = self.on_stacks(statements[n], [found[i] for i in inputs])
            if isinstance(found[n], Stack):
                stacks.add(n)
        return [found[n] for n in program.outputs]

    def on_stacks(self, s: Statement, given: list[Any]) -> Any:
        """What is known of arrays of all turns: put among zeros, they can be added in turn.

        The pad or scatter of all is the sum of the pads of each. To an element that is not written
        0 is added; so of what is written, 0 and -0 need not be told apart.
        """
        w = self.writer
        if s.name == "pad" and isinstance(given[0], Stack) and apart(
                s.parameters[0], (len(given[0].turns), *given[0].known(w).shape)):
            return given[0].padded(w, *s.parameters)
        if s.name == "scatter_add" and isinstance(given[0], Stack):
            index = [None if isinstance(i, Stack) else affine(w, i) for i in given[1:]]
            if None not in index:
                return given[0].padded(w, tuple(index), s.parameters[0], 0.0)
        if s.name == "elementwise" and s.parameters == ("add",):
            x: Any = given[0]
            z: Any = given[1]
            if type(x) is Stack and not isinstance(z, Stack) and w.numbers.get(z) == 0:
                return Raised(x.turns)
            first = isinstance(x, Pads)
            if first != isinstance(z, Pads) and not isinstance(z if first else x, Stack):
                pads, total = (x.turns, z) if first else (z.turns, x)
                for pad in pads:
                    both: Any = (pad, total) if first else (total, pad)
                    total = self.added(*both, s.known)
                return total
        raise UnknownRow

    def added(self, x: int, z: int, known: Any) -> int:
        """A sum; of 0 and what is never -0 it is that. Of pads it does not depend on their order.

        It is known by what the pads are added to, and by a number that stands for their set: the
        sum of a number of 128 bits for each.
        """
        for zero, term in ((x, z), (z, x)):
            number = self.writer.numbers.get(zero)
            if number is not None and number == 0 and never_minus_zero(self.judge, term) and (
                    not np.signbit(number)):  # a complex number has no such sign
                return term
        if self.ordered or (self.pads(x) is None and self.pads(z) is None):
            return self.writer.made("elementwise", (x, z), ("add",), known)
        bases, total = list[int](), 0
        for operand in (x, z):
            held = self.pads(operand)
            bases += [operand] if held is None else held[0]
            total += 0 if held is None else held[1]
        if len(bases) > 1:
            return self.writer.made("elementwise", (x, z), ("add",), known)
        n = self.writer.made("sum of pads", tuple(bases), (total % 2**128,), known)
        self.sums[n] = bases, total
        return n

    def pads(self, n: int) -> tuple[list[int], int] | None:
        """What a sum of pads adds to, and the number of their set; None if it is no such sum."""
        if n not in self.sums:
            s = self.writer.statements[n]
            if s.name != "pad" or s.known.dtype.kind != "f" or s.parameters[2] != 0:
                return None
            digest = blake2b(n.to_bytes(8, "little"), digest_size=16).digest()
            self.sums[n] = [], int.from_bytes(digest, "little")
        return self.sums[n]

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

    def known(self, w: Writer) -> Any:
        """The Aval of one turn."""
        return w.statements[self.turns[0]].known

    def padded(self, w: Writer, index: Any, shape: Any, fill: Any) -> Any:
        """Each turn in its own place among zeros."""
        known = self.known(w)
        if fill != 0 or known.dtype.kind != "f":
            raise UnknownRow
        alone, pads = aval(shape, known.dtype), list[int]()
        for t, value in enumerate(self.turns):
            at = tuple([(o + sum(k * t for d, k in terms if d == 0),
                         tuple([(d - 1, k) for d, k in terms if d])) for o, terms in index])
            pads.append(w.made("pad", (value,), (normal(at, known.shape), shape, fill), alone))
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
