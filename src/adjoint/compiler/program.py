"""The first stage: a Program, the statements of the loop language as a flat list.

A statement is a number; ``Program.statements[n]`` says what it does. `ProgramBuilder` is what rows
lower into. Equal statements are one (they are interned when they are made), views of views are one
view, and a view that changes nothing is its operand; everything else stays as the rows wrote it.
The order in which statements are made is a topological order.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.node import aval, aval_of
from adjoint.ops.declare import dtype_of
from adjoint.ops.loops import lowered_row

from .maths import MATHS
from .numpy_builder import NumpyBuilder, refuse
from .numpy_builder import Ref as Value
from .views import composed, is_identity, normal, outside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adjoint.core.symbol import Graph
    from adjoint.ops.loops import Index, Shape

SHOWN = 60  # statements that are printed
SEARCHES = {"argmax", "argmin"}
WORDS = {1, 2, 4, 8}  # bytes that are compared at a time
FIRST = 64  # elements that tell most arrays that are not one number throughout
# Statements of several results that run Programs, and which of their parameters these are.
CONTROL = {"loop": (0,), "branch": (0, 1), "repeat": (0, 1)}


class Statement(NamedTuple):
    """``name(*inputs, *parameters)``, and the Aval of its value (a tuple of them for a loop)."""

    name: str
    inputs: tuple[int, ...]
    parameters: tuple[Any, ...]
    known: Any


class Program:
    """Statements in order, the numbers of the inputs and of the outputs, and constant arrays."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.numbers: dict[Any, int] = {}
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.constants: list[Any] = []
        self.sites: dict[int, set[Any]] = {}
        self.into: dict[int, int] = {}  # outputs that are written over inputs, by position

    def add(self, statement: Statement, key: Any = None) -> int:
        """The number of a statement; an equal one (or one of equal ``key``) is not made again."""
        key = statement if key is None else key
        n = self.numbers.get(key)
        if n is None:
            n = self.numbers[key] = len(self.statements)
            self.statements.append(statement)
        return n

    def live(self) -> list[int]:
        """The statements that the outputs need, in order; inputs are always among them."""
        seen = set(self.inputs)
        stack = list(self.outputs)
        while stack:
            n = stack.pop()
            if n not in seen:
                seen.add(n)
                stack += self.statements[n].inputs
        return sorted(seen)

    def results(self) -> list[Any]:
        """The Avals of the outputs."""
        return [self.statements[n].known for n in self.outputs]

    def __call__(self, *values: Any) -> list[Any]:
        """Run it on arrays: each statement by `NumpyBuilder`, which is its meaning.

        A value is let go after its last use.
        """
        builder = NumpyBuilder(*values)
        live = self.live()
        last = {i: n for n in live for i in self.statements[n].inputs}
        kept, found = {*self.outputs}, dict[int, Any]()
        for n in live:
            found[n] = self.run(builder, n, found)
            for i in {*self.statements[n].inputs} - kept:
                if last[i] == n:
                    del found[i]
        return [found[n].value for n in self.outputs]

    def run(self, builder: NumpyBuilder, n: int, found: dict[int, Any]) -> Value:
        """The value of one statement."""
        name, inputs, parameters, known = self.statements[n]
        if name == "input":
            return builder.input(known)
        if name == "const":
            return Value(self.constants[parameters[0]], known.weak)
        xs = [found[i] for i in inputs]
        if name == "elementwise":
            return builder.elementwise(parameters[0], *xs)
        if name in {"pick", "scatter_add"}:
            return getattr(builder, name)(xs[0], xs[1:], *parameters)
        if name in {"reduce", "scan"}:
            return getattr(builder, name)(parameters[0], xs[0], parameters[1])
        if name == "dot":
            return builder.dot(list(zip(xs[::2], xs[1::2], strict=True)))
        if name == "call":
            return builder.call(parameters[0], xs, known)
        if name == "loop":
            body, count, carries, *shared = parameters
            return builder.loop(body, count, xs[:carries], xs[carries:], *shared)
        if name == "branch":
            return builder.branch(xs[0], parameters, xs[1:])
        if name == "repeat":
            condition, body, carries = parameters
            return builder.repeat(condition, body, xs[:carries], xs[carries:])
        return getattr(builder, name)(*xs, *parameters)

    def show(self) -> str:
        """The program as text, one line for each statement."""
        lines = [f"%{n} = {described(self.statements[n])}" for n in self.live()]
        if len(lines) > SHOWN:
            rest = len(lines) - SHOWN
            lines[SHOWN // 2:-SHOWN // 2] = [f"... {rest:,} more statements ..."]
        results = ", ".join(f"%{n}" for n in self.outputs)
        return "\n".join([*lines, f"return {results}"])

    def __repr__(self) -> str:
        return self.show()


def described(s: Statement) -> str:
    """One statement as text."""
    told = [f"%{i}" for i in s.inputs] + [getattr(p, "__name__", str(p)) for p in s.parameters]
    return f"{s.name}({', '.join(told)}): {s.known}"


class Ref:
    """A statement of a Program that is being built, with what is known of its value."""

    __slots__ = ("known", "number", "program")

    def __init__(self, program: Program, number: int) -> None:
        self.program, self.number = program, number
        self.known = program.statements[number].known

    @property
    def shape(self) -> Shape:
        """Size along each axis."""
        return self.known.shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype."""
        return self.known.dtype

    @property
    def weak(self) -> bool:
        """Whether it is a Python number, which adopts the dtype that it meets."""
        return self.known.weak

    def __repr__(self) -> str:
        return f"%{self.number}: {self.known}"


class ProgramBuilder:
    """What a row's ``lower`` writes its statements with."""

    def __init__(self, program: Program | None = None) -> None:
        self.program = Program() if program is None else program

    def made(self, name: str, xs: Sequence[Ref], parameters: tuple[Any, ...], known: Any,
             key: Any = None) -> Ref:
        """The reference to a statement."""
        inputs = tuple([x.number for x in xs])
        if key is None and name != "call":  # the Aval follows from the rest, and takes long to hash
            key = (name, inputs, parameters)
        program, s = self.program, Statement(name, inputs, parameters, known)
        return Ref(program, program.add(s, key))

    # ---- sources

    def input(self, known: Any) -> Ref:
        """The next argument."""
        ref = self.made("input", (), (len(self.program.inputs),), known)
        self.program.inputs.append(ref.number)
        return ref

    def const(self, value: Any) -> Ref:
        """A number or an array known when the program is built; equal ones are one."""
        known, array = aval_of(value), np.asarray(value)
        if array.ndim and array.size and uniform(array):
            return self.view(self.const(array.flat[0]), (), array.shape)
        key = ("const", known, array.tobytes())
        if key not in self.program.numbers:
            self.program.constants.append(value)
        return self.made("const", (), (len(self.program.constants) - 1,), known, key)

    def iota(self, shape: Shape, axis: int, dtype: Any) -> Ref:
        """The index along ``axis``."""
        return self.made("iota", (), (shape, axis, np.dtype(dtype)), aval(shape, np.dtype(dtype)))

    # ---- element by element

    def elementwise(self, function: str, *xs: Ref) -> Ref:
        """A scalar function of the table."""
        first = xs[0].known
        for x in xs:
            if x.known is not first:
                agree(function, xs)
                break
        dtype = dtype_of(MATHS[function].numpy, *[x.known.dtype for x in xs])
        return self.made("elementwise", xs, (function,), aval(first.shape, dtype))

    def cast(self, x: Ref, dtype: Any) -> Ref:
        """The same numbers in another dtype."""
        return self.made("cast", (x,), (np.dtype(dtype),), aval(x.shape, np.dtype(dtype)))

    def select(self, condition: Ref, x: Ref, z: Ref) -> Ref:
        """``x`` where the condition holds, else ``z``."""
        if condition.dtype != np.bool_:
            refuse("select", f"has a condition of {condition.dtype}")
        if x.known is not z.known or condition.known.shape != x.known.shape:
            agree("select", (condition, x, z), dtypes=False)
            agree("select", (x, z))
        return self.made("select", (condition, x, z), (), aval(x.shape, x.dtype))

    # ---- where elements come from and go to

    def view(self, x: Ref, index: Index, shape: Shape) -> Ref:
        """``out[i] = x[index(i)]``; of a view, a view of its operand."""
        shape = tuple(shape)
        if wrong := outside(index, x.shape, shape):
            refuse("view", wrong)
        if is_identity(index, x.shape, shape):
            return x
        s = self.program.statements[x.number]
        if s.name == "view":
            inner: Any = s.parameters[0]
            return self.view(Ref(self.program, s.inputs[0]), composed(inner, index), shape)
        return self.made("view", (x,), (normal(index, shape), shape), aval(shape, x.dtype))

    def pad(self, x: Ref, index: Index, shape: Shape, fill: Any) -> Ref:
        """``out[index(i)] = x[i]``, and ``fill`` where nothing is written."""
        shape = tuple(shape)
        if wrong := outside(index, shape, x.shape):
            refuse("pad", wrong)
        known = aval(shape, x.dtype)
        key = ("pad", x.number, index, shape, np.asarray(fill, x.dtype).tobytes())
        return self.made("pad", (x,), (index, shape, fill), known, key)

    def pick(self, x: Ref, indices: Sequence[Ref]) -> Ref:
        """``out[i] = x[indices[0][i], indices[1][i], ...]``."""
        if len(indices) != len(x.shape):
            refuse("pick", f"has {len(indices)} index arrays for shape {x.shape}")
        agree("pick", indices)
        return self.made("pick", (x, *indices), (), aval(indices[0].shape, x.dtype))

    def scatter_add(self, x: Ref, indices: Sequence[Ref], shape: Shape) -> Ref:
        """``out[indices[i]] += x[i]``, from zeros."""
        agree("scatter_add", (x, *indices), dtypes=False)
        return self.made("scatter_add", (x, *indices), (tuple(shape),), aval(tuple(shape), x.dtype))

    def copy(self, x: Ref, shape: Shape) -> Ref:
        """The elements in C order under another shape: stored."""
        shape = tuple(shape)
        if prod(shape) != prod(x.shape):
            refuse("copy", f"makes shape {shape} of shape {x.shape}")
        return self.made("copy", (x,), (shape,), aval(shape, x.dtype))

    # ---- along axes

    def reduce(self, op: str, x: Ref, axes: Shape) -> Ref:
        """``op`` over the axes, which disappear."""
        axes = tuple(axes)
        shape = tuple([n for d, n in enumerate(x.shape) if d not in axes])
        dtype = np.dtype(np.intp) if op in SEARCHES else x.dtype
        return self.made("reduce", (x,), (op, axes), aval(shape, dtype))

    def scan(self, op: str, x: Ref, axis: int) -> Ref:
        """The cumulative ``op`` along one axis."""
        return self.made("scan", (x,), (op, axis), aval(x.shape, x.dtype))

    def dot(self, pairs: Sequence[tuple[Ref, Ref]]) -> Ref:
        """The sum over the pairs of (..., m, k) by (..., k, n)."""
        for x, z in pairs:
            if len(x.shape) < 2 or x.shape[:-2] != z.shape[:-2] or x.shape[-1] != z.shape[-2]:
                refuse("dot", f"has operands of shapes {x.shape} and {z.shape}")
            agree("dot", (x, z), shapes=False)
        x, z = pairs[0]
        known = aval((*x.shape[:-1], z.shape[-1]), x.dtype)
        return self.made("dot", [ref for pair in pairs for ref in pair], (), known)

    # ---- control

    def loop(self, body: Graph | Program, count: int, carries: Sequence[Ref],
             inputs: Sequence[Ref], shared: int = 0) -> Ref:
        """``count`` runs of ``body``: final carries, then what was stacked.

        Run t gets the carries, row t of each input, and the last ``shared`` inputs whole. The
        statement's parameters are ``(body, count, carries)``, and ``shared`` behind them if not 0.
        """
        outs = results_of(body)
        known = (*outs[:len(carries)],
                 *[aval((count, *o.shape), o.dtype) for o in outs[len(carries):]])
        extra = (shared,) if shared else ()
        return self.made("loop", (*carries, *inputs), (body, count, len(carries), *extra), known)

    def branch(self, condition: Ref, bodies: Sequence[Graph | Program], inputs: Sequence[Ref]
               ) -> Ref:
        """The results of ``bodies[condition](*inputs)``: a tuple."""
        return self.made("branch", (condition, *inputs), tuple(bodies), results_of(bodies[0]))

    def repeat(self, condition: Graph | Program, body: Graph | Program, carries: Sequence[Ref],
               inputs: Sequence[Ref]) -> Ref:
        """``carries = body(*carries, *inputs)`` while ``condition`` of them holds.

        The value is a tuple: the last carries, and how often the body ran.
        """
        known = (*results_of(body), aval((), np.dtype(np.int64)))
        return self.made("repeat", (*carries, *inputs), (condition, body, len(carries)), known)

    def item(self, x: Ref | tuple[Ref, ...], index: int) -> Ref:
        """One result of a statement with several; a row may give them apart, as a tuple."""
        if isinstance(x, tuple):
            return x[index]
        return self.made("item", (x,), (index,), x.known[index])

    def call(self, function: Callable[..., Any], xs: Sequence[Ref], known: Any) -> Ref:
        """A function outside the language; the same function of the same operands is one call."""
        return self.made("call", xs, (function,), known)


def results_of(body: Graph | Program) -> tuple[Any, ...]:
    """The Avals of what a body gives."""
    outs = body.results() if isinstance(body, Program) else [o.aval for o in body.outputs]
    return tuple([aval(o.shape, o.dtype) for o in outs])


def uniform(array: Any) -> bool:
    """Whether all elements have the same bits: such an array is a number, broadcast."""
    if not any(step for n, step in zip(array.shape, array.strides, strict=True) if n > 1):
        return True
    size = array.dtype.itemsize
    flat = np.ascontiguousarray(array).reshape(-1)
    bits = flat.view(f"u{size}") if size in WORDS else flat.view(np.uint8).reshape(-1, size)
    return bool((bits[:FIRST] == bits[0]).all() and (bits == bits[0]).all())


def agree(statement: str, xs: Sequence[Ref], *, dtypes: bool = True, shapes: bool = True) -> None:
    """Operands of one statement have equal shapes, and equal dtypes where they are combined."""
    if shapes and len({x.shape for x in xs}) > 1:
        refuse(statement, f"has operands of shapes {', '.join(str(x.shape) for x in xs)}")
    if dtypes and len({x.dtype for x in xs}) > 1:
        refuse(statement, f"has operands of dtypes {', '.join(str(x.dtype) for x in xs)}")


def lowered(graph: Graph) -> Program:
    """A traced program as statements: each of its rows lowered, in order.

    ``sites`` say which lines of the user's each statement computes.
    """
    b = ProgramBuilder()
    env: dict[Any, Any] = {n: b.input(n.aval) for n in graph.inputs}

    statements, sites = b.program.statements, b.program.sites

    def read(n: Any) -> Ref:
        return env[n] if n in env else b.const(n.value)
    for n in graph.nodes:
        first = len(statements)
        env[n] = lowered_row(b, n, [env[i] if i in env else read(i) for i in n.inputs])
        for k in range(first, len(statements)):  # which are new, so nobody has told of them
            sites[k] = {n.site}
    b.program.outputs = [read(o).number for o in graph.outputs]
    return b.program
