"""The stage after lowering: a Program of equal value with less to do.

One pass, in order: each statement is offered to the rules of its name (`editor.py` says how, and
`rules` prints them all), equal statements become one, what nobody reads goes. Every rule gives the
same values, NaN, infinities and -0 included, within the bounds of sums; those that may be finite
where the program is not are flagged ``stabilises``. What must know who reads a value comes later,
in `refine.py`.

>>> from adjoint.compiler.program import ProgramBuilder
>>> from adjoint.compiler.simplify import simplified
>>> from adjoint.core.node import aval_of
>>> b = ProgramBuilder()
>>> x = b.input(aval_of(np.ones(3)))
>>> eight = b.view(b.const(np.float64(8)), (), (3,))
>>> b.program.outputs = [b.elementwise("divide", x, eight).number]
>>> simplified(b.program)
%0 = input(0): float64[3]
%1 = const(0): float64[]
%2 = view(%1, (), (3,)): float64[3]
%3 = elementwise(%0, %2, multiply): float64[3]
return %3
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from . import (
    algebra,
    branches,
    contractions,
    diagonals,
    moves,
    shares,
    softmaxes,
    stable,
    transposes,
    zeros,
)
from .algebra import const_array
from .diagonals import diagonal_constant
from .editor import RULES, Editor, rebuilt, uncollected
from .facts import number_behind
from .layout import body_of
from .program import CONTROL, Program
from .views import normal

if TYPE_CHECKING:
    from .program import Statement

MANY = 6  # numbers, each equally often, that look like one for each turn of a loop
PRODUCTS = 5  # added up one after the other, that look like one for each turn of a loop
BY_NUMBER = {"add", "subtract", "multiply", "divide"}
# whose rules are in the table
FAMILIES = (algebra, branches, moves, diagonals, contractions, transposes, softmaxes, stable,
            shares, zeros)


def simplified(program: Program, *, stabilise: bool = True) -> Program:
    """A Program of equal value with fewer, cheaper statements, none of them dead.

    Without ``stabilise`` only rules that keep every special value are used.
    """
    bodies: dict[int, Program] = {}

    def inner(body: Any) -> Program:
        body = body_of(body)
        if id(body) not in bodies:
            bodies[id(body)] = simplified(body, stabilise=stabilise)
        return bodies[id(body)]
    live, e = program.live(), Editor(stabilise=stabilise)
    e.varied, e.gathered = varied(program, live), gathered(program, live)

    def make(s: Statement, inputs: tuple[int, ...]) -> int:
        if s.name in CONTROL:
            s = s._replace(parameters=tuple([inner(p) if k in CONTROL[s.name] else p
                                             for k, p in enumerate(s.parameters)]))
        return remade(e, program, s, inputs)
    with uncollected():
        return rebuilt(program, live, e, make)


def remade(e: Editor, program: Program, s: Statement, inputs: tuple[int, ...]) -> int:
    """The number of what the rules make of a statement of ``program``, with other operands."""
    if s.name == "const":
        return constant(e, program.constants[s.parameters[0]])
    if s.name == "view":
        return e.view(inputs[0], *s.parameters)
    if s.name == "iota":
        return e.iota(*s.parameters)
    parameters = s.parameters
    if s.name == "pad":
        index, *rest = parameters
        parameters = (normal(index, e.known(inputs[0]).shape), *rest)
    return e.made(s.name, inputs, parameters, s.known)


def varied(program: Program, live: list[int]) -> set[Any]:
    """Functions applied with many numbers, all but one equally often: a number for each turn.

    Python's loop over t writes ``x / (t + 1)`` with a number for each turn. If ``x / 1`` and
    ``x / 2`` became something else, the turns would not be alike, and no loop again.
    """
    counts: dict[Any, dict[Any, int]] = {}
    for n in live:
        s = program.statements[n]
        if s.name == "elementwise" and s.parameters[0] in BY_NUMBER:
            for i in s.inputs:
                value = number_behind(program, i)
                if value is not None:
                    found = counts.setdefault((s.parameters[0], s.known), {})
                    found[value] = found.get(value, 0) + 1
    return {key for key, found in counts.items() if len(found) >= MANY and len(found) - max(
        Counter(found.values()).values()) <= 1}  # but for the 1 that a gradient begins with


def gathered(program: Program, live: list[int]) -> set[int]:
    """Sums of two products to which more products are added, one after the other.

    So gradients are summed over the turns of a loop. The first sum is not made one product with two
    pairs: the turns would not be alike.
    """
    statements, chains, found = program.statements, dict[int, tuple[int, int]](), set[int]()
    for n in live:
        s = statements[n]
        if s.name != "elementwise" or s.parameters != ("add",):
            continue
        for x, z in (s.inputs, s.inputs[::-1]):
            if statements[z].name == "dot" and (x in chains or statements[x].name == "dot"):
                first, length = chains.get(x, (n, 1))
                chains[n] = first, length + 1
                if length + 1 >= PRODUCTS:
                    found.add(first)
                break
    return found


def constant(e: Editor, value: object) -> int:
    """A constant, recognised as a number throughout or a ramp where it is one."""
    array = np.asarray(value)
    if not array.ndim:
        return e.const(value)
    found = diagonal_constant(e, array)
    return const_array(e, array) if found is None else found


def rules() -> str:
    """The table of rules, one line for each; a star marks those that stabilise."""
    lines = {(" *" if r.stabilises else "  ") + r.says: None
             for found in RULES.values() for r in found}
    return "\n".join(lines)
