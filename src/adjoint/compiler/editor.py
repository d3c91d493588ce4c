"""How a Program is rewritten: each statement made anew, and offered to the rules of its name.

Start here to add a rule: a rule is a function of the `Editor` and a statement whose operands are
rewritten already. It gives the number of a statement of equal value, or None where it does not
apply. What it writes goes through `Editor.made`, hence through the rules again and the interner.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.node import aval
from adjoint.ops.declare import dtype_of

from .maths import MATHS
from .program import Program, ProgramBuilder, Ref, Statement
from .views import composed, is_identity, normal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from adjoint.ops.loops import Index, Shape

NOWHERE = {None}  # lines of a statement that was traced without them
SMALL = 1024  # elements of a constant array that is worth folding
COMMUTE = {"add", "multiply", "equal", "not_equal", "logical_and", "logical_or", "logical_xor",
           "bitwise_and", "bitwise_or", "bitwise_xor"}


class Rule(NamedTuple):
    """One rewrite: what it says, and the function that does it.

    ``stabilises``: the new program may be finite where the old one is not.
    """

    says: str
    rewrite: Callable[[Editor, Statement], int | None]
    stabilises: bool


RULES: dict[str, list[Rule]] = {}  # by statement, or by the function of an elementwise statement


def rule(*names: str, says: str, stabilises: bool = False) -> Any:
    """Enter a function as a rule of the statements or scalar functions called ``names``."""
    def enter(rewrite: Callable[[Editor, Statement], int | None]) -> Any:
        for name in names:
            RULES.setdefault(name, []).append(Rule(says, rewrite, stabilises))
        return rewrite
    return enter


@contextmanager
def uncollected() -> Generator[None]:
    """No garbage collection: a stage makes many tuples and no garbage, which costs half its time.

    >>> from adjoint.compiler.editor import uncollected
    >>> with uncollected():
    ...     parts = [(k,) for k in range(3)]
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@lru_cache(maxsize=1024)
def result_dtype(function: str, *dtypes: Any) -> Any:
    """The dtype of a scalar function's result."""
    return dtype_of(MATHS[function].numpy, *dtypes)


def same_bits(x: Any, z: Any) -> bool:
    """Whether two scalars are one: NaN is NaN, and 0 is not -0."""
    x, z = np.asarray(x), np.asarray(z)
    if x.dtype != z.dtype:
        return False
    return x.tobytes() == z.tobytes() or bool(np.isnan(x) and np.isnan(z))


class Writer:
    """A new Program, written statement by statement; equal statements are one."""

    def __init__(self) -> None:
        self.builder = ProgramBuilder()
        self.program: Program = self.builder.program
        self.statements = self.program.statements
        self.numbers: dict[int, Any] = {}  # statements that are one number throughout
        self.indexed = False  # whether there is an iota, without which nothing is on a diagonal

    def made(self, name: str, inputs: tuple[int, ...], parameters: tuple[Any, ...],
             known: Any) -> int:
        """The number of a statement."""
        if name in SPELLED:
            s = Statement(name, inputs, parameters, known)
            return self.program.add(s, key_of(s))
        key, numbers = (name, inputs, parameters), self.program.numbers
        n = numbers.get(key)
        if n is None:
            n = numbers[key] = len(self.statements)
            self.statements.append(Statement(name, inputs, parameters, known))
        return n

    def input(self, known: Any) -> int:
        """The next argument."""
        return self.builder.input(known).number

    def map(self, function: str, *xs: int) -> int:
        """An elementwise statement."""
        first = self.statements[xs[0]].known
        dtype = result_dtype(function, *[self.statements[x].known.dtype for x in xs])
        return self.made("elementwise", xs, (function,), aval(first.shape, dtype))

    def cast(self, x: int, dtype: Any) -> int:
        """The same numbers in another dtype."""
        return self.made("cast", (x,), (dtype,), aval(self.statements[x].known.shape, dtype))

    def select(self, condition: int, x: int, z: int) -> int:
        """``x`` where the condition holds, else ``z``."""
        known = self.statements[x].known
        return self.made("select", (condition, x, z), (), aval(known.shape, known.dtype))

    def view(self, x: int, index: Index, shape: Shape) -> int:
        """A view, composed with the view that ``x`` may be."""
        s = self.statements[x]
        if is_identity(index, s.known.shape, shape):
            return x
        if s.name == "view":
            return self.view(s.inputs[0], composed(s.parameters[0], index), shape)
        index = normal(index, shape)
        n = self.made("view", (x,), (index, shape), aval(shape, s.known.dtype))
        if x in self.numbers:
            self.numbers[n] = self.numbers[x]
        return n

    def reduce(self, op: str, x: int, axes: Shape) -> int:
        """``op`` over the axes, which disappear."""
        known = self.statements[x].known
        shape = tuple([n for d, n in enumerate(known.shape) if d not in axes])
        return self.made("reduce", (x,), (op, axes), aval(shape, known.dtype))

    def const(self, value: Any) -> int:
        """A constant; a number is known as one."""
        n = self.builder.const(value).number
        if not np.shape(value):
            self.numbers[n] = np.asarray(value)[()]
        return n

    def splat(self, value: Any, shape: Shape) -> int:
        """One number throughout a shape."""
        return self.view(self.const(value), (), shape)

    def iota(self, shape: Shape, axis: int, dtype: Any) -> int:
        """The index along an axis; along one of size 1 it is 0."""
        if shape[axis] == 1:
            return self.splat(np.dtype(dtype).type(0), shape)
        dtype = np.dtype(dtype)
        self.indexed = True
        return self.made("iota", (), (shape, axis, dtype), aval(shape, dtype))

    def known(self, n: int) -> Any:
        """The Aval."""
        return self.statements[n].known

    def function(self, n: int) -> str:
        """The scalar function of an elementwise statement; empty for others."""
        s = self.statements[n]
        return s.parameters[0] if s.name == "elementwise" else ""

    def like(self, x: int, value: Any) -> int:
        """A number in the shape and dtype of ``x``."""
        known = self.statements[x].known
        return self.splat(known.dtype.type(value), known.shape)


class Editor(Writer):
    """A Program rewritten by rules, and the questions that they ask of its statements."""

    def __init__(self, *, stabilise: bool = True) -> None:
        super().__init__()
        self.uses: dict[int, int] = {}  # how often the old program read what became this
        self.stabilise = stabilise
        self.varied: set[Any] = set()  # functions whose numbers differ from turn to turn
        self.gathered: set[int] = set()  # of the old program: sums that many products are added to
        self.current = -1  # the statement of the old program that is being rewritten
        self.memo: dict[Any, Any] = {}  # of facts
        self.rewrites: dict[str, list[Callable[..., int | None]]] = {}  # by statement or function

    def made(self, name: str, inputs: tuple[int, ...], parameters: tuple[Any, ...],
             known: Any) -> int:
        """The number of a statement of this value: what a rule makes of it, or itself."""
        s = Statement(name, inputs, parameters, known)
        called = parameters[0] if name == "elementwise" else name
        n = self.offered(called, s)
        if n is not None:
            return n
        if called in COMMUTE:
            other = self.program.numbers.get((name, inputs[::-1], parameters))
            if other is not None:
                return other
        return super().made(name, inputs, parameters, known)

    def offered(self, called: str, s: Statement) -> int | None:
        """What the first rule that applies makes of a statement."""
        rewrites = self.rewrites.get(called)
        if rewrites is None:
            rewrites = self.rewrites[called] = self.rules_of(s.name, called)
        for rewrite in rewrites:
            n = rewrite(self, s)
            if n is not None:
                return n
        return None

    def rules_of(self, name: str, called: str) -> list[Callable[..., int | None]]:
        """The functions that a statement is offered to; first those that may stabilise it."""
        pointwise = name in {"elementwise", "cast", "select"}
        found = [*RULES.get(called, ()), *(RULES.get("elementwise", ()) if pointwise else ())]
        first = [r.rewrite for r in found if r.stabilises and self.stabilise]
        return [*first, *[r.rewrite for r in found if not r.stabilises]]

    def varies(self, s: Statement) -> bool:
        """Whether a function is applied with another number in each turn of a loop."""
        return bool(self.varied) and (s.parameters[0], s.known) in self.varied

    def array(self, n: int) -> Any:
        """The value of a small constant, or of a number in a small shape; else None."""
        s = self.statements[n]
        if s.known.__class__ is tuple or s.known.size > SMALL:
            return None
        if n in self.numbers:
            return np.broadcast_to(self.numbers[n], s.known.shape)
        return np.asarray(self.program.constants[s.parameters[0]]) if s.name == "const" else None

    def alone(self, n: int) -> bool:
        """Whether nobody else reads what this was before."""
        return self.uses.get(n, 0) <= 1

    def is_view(self, n: int) -> bool:
        """Whether it is a view of something that is no number."""
        return self.statements[n].name == "view" and n not in self.numbers

    def ref(self, n: int) -> Ref:
        """For statements of the builder that have no rules."""
        return Ref(self.program, n)


def rebuilt(program: Program, live: Sequence[int], editor: Editor,
            make: Callable[[Statement, tuple[int, ...]], int]) -> Program:
    """A Program rewritten from its first live statement to its last; lines are carried over."""
    new: dict[int, int] = {}
    out, sites = editor.program, program.sites
    count: dict[int, int] = dict.fromkeys(program.outputs, 1)
    for n in live:
        for i in program.statements[n].inputs:
            count[i] = count.get(i, 0) + 1
    for n in program.inputs:
        new[n] = editor.input(program.statements[n].known)
    for n in live:
        if n not in new:
            first = len(out.statements)
            s, editor.current = program.statements[n], n
            new[n] = m = make(s, tuple([new[i] for i in s.inputs]))
            editor.uses[m] = editor.uses.get(m, 0) + count.get(n, 0)
            if (lines := sites.get(n)) and lines != NOWHERE:
                for k in (m, *range(first, len(out.statements))):
                    if (told := out.sites.get(k)) is None:
                        out.sites[k] = {*lines}
                    elif told is not lines:
                        told |= lines
    out.outputs = [as_known(editor, new[n], program.statements[n].known) for n in program.outputs]
    return compacted(out, program)


def retold(program: Program, n: int, out: Program, made: Sequence[int]) -> None:
    """Give the lines of a statement to what took its place."""
    lines = program.sites.get(n)
    if lines and lines != NOWHERE:
        for m in made:
            out.sites.setdefault(m, set()).update(lines)


def as_known(editor: Editor, n: int, known: Any) -> int:
    """``n`` with the Aval of the output that it replaces: a Python number is not an array."""
    if editor.statements[n].known == known:
        return n
    return editor.program.add(Statement("cast", (n,), (known.dtype,), known))


def compacted(program: Program, origin: Program) -> Program:
    """The live statements alone, renumbered; the promises that ``origin`` made of its outputs."""
    w = Writer()
    new: dict[int, int] = {}
    for n in program.live():
        new[n] = m = rewritten(w, program, n, new)
        retold(program, n, w.program, (m,))
    w.program.outputs = [new[n] for n in program.outputs]
    w.program.into = dict(origin.into)  # a rewrite keeps the order of inputs and outputs
    return w.program


def rewritten(w: Writer, program: Program, n: int, new: dict[int, int]) -> int:
    """The same statement in another Program."""
    name, inputs, parameters, known = program.statements[n]
    if name == "input":
        return w.input(known)
    if name == "const":
        return w.const(program.constants[parameters[0]])
    if name == "view":
        base = new[inputs[0]]
        if w.statements[base].name == "view":
            return w.view(base, *parameters)
        m = w.made(name, (base,), parameters, known)
        if base in w.numbers:
            w.numbers[m] = w.numbers[base]
        return m
    if name == "pad":
        index, *rest = parameters
        parameters = (normal(index, program.statements[inputs[0]].known.shape), *rest)
    return w.made(name, tuple([new[i] for i in inputs]), parameters, known)


SPELLED = {"pad", "call"}  # statements whose key is not what they are made of


def key_of(s: Statement) -> Any:
    """What equal statements share: the Aval follows from the rest, where no function is called."""
    if s.name == "pad":
        index, shape, fill = s.parameters
        return ("pad", s.inputs[0], index, shape, np.asarray(fill, s.known.dtype).tobytes())
    return s if s.name == "call" else s[:3]
