"""The stage after re-rolling: rules that must know who reads a value, hence all of the program.

First those of zeros whose sign nobody sees (`zeros.py`), then those of what is turned back
(`transposes.py`). What no rule changes is copied as it is, and what reads a changed value is
offered to all rules again. It comes late because there is less to look at once repetitions are
loops.

>>> from adjoint.compiler.program import ProgramBuilder
>>> from adjoint.compiler.refine import refined
>>> from adjoint.core.node import aval_of
>>> b = ProgramBuilder()
>>> x = b.input(aval_of(np.ones((3, 2))))
>>> zeros = b.view(b.const(np.float64(0)), (), (3, 2))
>>> b.program.outputs = [b.reduce("add", b.elementwise("add", x, zeros), (1,)).number]
>>> refined(b.program)  # a sum begins with 0 anyway
%0 = input(0): float64[3, 2]
%1 = reduce(%0, add, (1,)): float64[3]
return %1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .editor import Editor, Writer, rebuilt, uncollected
from .layout import body_of
from .program import CONTROL
from .simplify import gathered, remade, varied
from .transposes import turned_views
from .zeros import unsigned_zeros

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .program import Program, Statement


def refined(program: Program, *, stabilise: bool = True) -> Program:
    """A Program of equal value, with what its readers allow; bodies of loops too.

    Without ``stabilise`` only rules that keep every special value are used.
    """
    with uncollected():
        live = program.live()
        unsigned, bodies = unsigned_zeros(program, live), bodies_of(program, live, stabilise)
        if unsigned or bodies:
            program = Again(program, stabilise, unsigned, unsigned, bodies).result()
        turned = turned_views(program, program.live())
        return Again(program, stabilise, turned).result() if turned else program


def bodies_of(program: Program, live: list[int], stabilise: bool) -> dict[int, Program]:
    """The refined bodies of loops and branches, by the identities of those that they replace."""
    found: dict[int, Program] = {}
    for n in live:
        s = program.statements[n]
        for p in (p for k, p in enumerate(s.parameters) if k in CONTROL.get(s.name, ())):
            after = refined(body_of(p), stabilise=stabilise)
            if after is not p:
                found[id(p)] = after
    return found


class Again:
    """A Program copied, but for the statements ``at``, which are offered to the rules again.

    Those of ``unsigned`` may give -0 where they gave 0. Some bodies give way to others.
    """

    def __init__(self, program: Program, stabilise: bool, at: Collection[int],
                 unsigned: Collection[int] = (), bodies: Mapping[int, Program] | None = None
                 ) -> None:
        self.program, self.at, self.unsigned, self.bodies = program, at, unsigned, bodies or {}
        self.e = Editor(stabilise=stabilise)
        self.live = program.live()
        self.e.varied, self.e.gathered = varied(program, self.live), gathered(program, self.live)
        self.changed: set[int] = set()  # of the old program

    def result(self) -> Program:
        """The new Program."""
        return rebuilt(self.program, self.live, self.e, self.make)

    def make(self, s: Statement, inputs: tuple[int, ...]) -> int:
        """The number of a statement."""
        e, n = self.e, self.e.current
        if s.name in CONTROL:
            s = s._replace(parameters=tuple([self.bodies.get(id(p), p) for p in s.parameters]))
        fresh = any(i in self.changed for i in self.program.statements[n].inputs)
        if n in self.unsigned:
            found = e.offered("unsigned", s._replace(inputs=inputs))
            if found is not None:
                self.changed.add(n)
                return found
        elif n in self.at and not fresh:
            found = remade(e, self.program, s, inputs)
            if e.statements[found] != s._replace(inputs=inputs):
                self.changed.add(n)
            return found
        if fresh:
            self.changed.add(n)
            return remade(e, self.program, s, inputs)
        return self.copied(s, inputs)

    def copied(self, s: Statement, inputs: tuple[int, ...]) -> int:
        """The same statement."""
        e = self.e
        if s.name == "const":
            return e.const(self.program.constants[s.parameters[0]])
        e.indexed = e.indexed or s.name == "iota"
        n = Writer.made(e, s.name, inputs, s.parameters, s.known)
        if s.name == "view" and inputs[0] in e.numbers:
            e.numbers[n] = e.numbers[inputs[0]]
        return n
