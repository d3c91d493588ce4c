"""About how long a program takes, to within a factor of three or so.

It says whether other threads of Python may run meanwhile, which costs 30 ns and is worth it for
programs of more than some microseconds.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from .layout import body_of
from .program import CONTROL

if TYPE_CHECKING:
    from .program import Program, Statement

ELEMENT, JUMP, PRODUCT = 0.3e-9, 1e-9, 0.03e-9  # seconds: computed; found by an index; in a dot
FREE = {"input", "const", "view", "iota", "item"}
JUMPS = {"pick", "scatter_add"}


def seconds_of(program: Program) -> float:
    """An estimate of the time of one run, in seconds.

    >>> from adjoint.compiler.estimate import seconds_of
    >>> from adjoint.compiler.program import ProgramBuilder
    >>> from adjoint.core.node import aval_of
    >>> b = ProgramBuilder()
    >>> x = b.input(aval_of(np.ones((1000, 1000))))
    >>> b.program.outputs = [b.elementwise("exp", x).number]
    >>> print(f"{seconds_of(b.program):.0e}")
    3e-04
    """
    return sum([seconds(program, program.statements[n]) for n in program.live()])


def seconds(program: Program, s: Statement) -> float:
    """The time of one statement."""
    if s.name in FREE:
        return 0.0
    if s.name == "loop":
        body, count, *_ = s.parameters
        return count * seconds_of(body_of(body))
    if s.name in CONTROL:  # nobody knows how often
        return sum([seconds_of(body_of(s.parameters[k])) for k in CONTROL[s.name]])
    known = [program.statements[i].known for i in s.inputs]
    sizes = [prod(k.shape) for k in (s.known, *known) if not isinstance(k, tuple)]
    if s.name == "dot":
        return PRODUCT * sum(prod(k.shape) for k in known[::2]) * (
            s.known.shape[-1] if s.known.shape else 1)
    return (JUMP if s.name in JUMPS else ELEMENT) * max(sizes, default=0)
