"""A compiled function as a row: so it is differentiated, batched and traced like any operation.

The derivatives of a compiled function are compiled too: each is traced once from the Graph, for the
arguments that are asked for, and is the same row with another Graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adjoint.core.box import bind
from adjoint.core.node import aval_of, constant
from adjoint.core.primitive import Label, Primitive, register
from adjoint.core.symbol import Graph, Symbol, trace
from adjoint.modes import DETERMINISTIC
from adjoint.ops.loops import lowered_row
from adjoint.ops.several import Parts, item
from adjoint.tensors import conjugate
from adjoint.transforms.batching import vmap
from adjoint.transforms.gradients import jvp, vjp

from .distribute import distributed
from .editor import uncollected
from .executing import Executable
from .keys import text_of
from .program import ProgramBuilder, lowered
from .refine import refined
from .reroll import rerolled
from .simplify import simplified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .program import Program


def looped(program: Program) -> Program:
    """A simplified Program with its repetitions as loops, and little in them."""
    before = rerolled(program)
    after = distributed(before)
    return refined(after if after is before else simplified(after))


class JitGraph(Graph):
    """A Graph with its Program, what runs it, and its derivatives' Graphs: each made once."""

    __slots__ = ("cached", "derived")
    stepwise = True  # the row gives what the Graph gives, step by step

    def __init__(self) -> None:
        super().__init__()
        self.derived: dict[Any, JitGraph] = {}
        self.cached: dict[str, Any] = {}  # "into": which outputs are written over inputs

    @property
    def program(self) -> Program:
        """The statements."""
        if "program" not in self.cached:
            program = lowered(self)
            program.into = self.cached.get("into", {})
            self.cached["program"] = looped(simplified(program))
        return self.cached["program"]

    @property
    def executable(self) -> Executable:
        """What computes the outputs; with products of its own inside `ad.deterministic`."""
        key = "deterministic" if DETERMINISTIC.get() else "executable"
        if key not in self.cached:
            with uncollected():
                self.cached[key] = Executable(lambda: self.program, self.text)
        return self.cached[key]

    def text(self) -> str:
        """All that the Program depends on; empty if that cannot be told."""
        told = text_of(self)
        return told and f"{told}\n{sorted(self.cached.get('into', {}).items())}"

    def other(self, key: Any, f: Callable[..., Any], avals: Sequence[Any]) -> JitGraph:
        """The Graph of ``f``, traced the first time that it is asked for by ``key``."""
        key = (*key, *avals)
        if key not in self.derived:
            self.derived[key] = traced(f, avals)
        return self.derived[key]


def traced(f: Callable[..., Any], avals: Sequence[Any]) -> JitGraph:
    """The Graph of a function that returns a sequence of arrays."""
    plain, out = trace(f, *avals)
    graph = JitGraph()
    graph.inputs, graph.nodes, graph.closed = plain.inputs, plain.nodes, plain.closed
    graph.outputs = [y.node if isinstance(y, Symbol) else constant(y) for y in out]
    return graph


def run(*xs: Any, graph: Any) -> tuple[Any, ...]:
    """The outputs, by machine code."""
    return tuple(graph.executable(*xs))


def among(xs: Sequence[Any], at: Sequence[int], graph: Any, some: Sequence[Any]) -> list[Any]:
    """The outputs of the Graph on ``xs``, with others at some places."""
    full = list(xs)
    for n, x in zip(at, some, strict=True):
        full[n] = x
    return graph(*full)


def called(graph: JitGraph, xs: Sequence[Any]) -> Any:
    """The row applied: a tuple, or a Box of one."""
    return bind(JIT, [*xs, *graph.closed], {"graph": graph})


def parts(graph: JitGraph, y: Any) -> list[Any]:
    """The outputs apart."""
    return [y[k] if isinstance(y, tuple) else item(y, index=k) for k in range(len(graph.outputs))]


def _pull(dy: Any, y: Any, *xs_needs: Any, graph: Any) -> tuple[Any, ...]:
    *xs, needs = xs_needs
    wanted = [n for n, need in enumerate(needs) if need and aval_of(xs[n]).inexact]
    used = [k for k, part in enumerate(dy) if part is not None]

    def pulled(*values: Any) -> list[Any]:
        xs, dys = values[:len(needs)], values[len(needs):]

        def again(*some: Any) -> tuple[Any, ...]:
            out = among(xs, wanted, graph, some)
            return tuple(out[k] for k in used)
        _, pullback = vjp(again, *[xs[n] for n in wanted])
        return [conjugate(dx) for dx in pullback(tuple(map(conjugate, dys)))]
    given = [*xs, *[dy[k] for k in used]]
    other = graph.other(("vjp", *wanted, -1, *used), pulled, list(map(aval_of, given)))
    found = dict(zip(wanted, parts(other, called(other, given)), strict=True))
    return tuple(found.get(n) for n in range(len(xs)))


def _push(dxs: Any, y: Any, *xs: Any, graph: Any) -> Any:
    moving = [n for n, dx in enumerate(dxs) if dx is not None]

    def pushed(*values: Any) -> list[Any]:
        xs, dxs = values[:len(values) - len(moving)], values[len(values) - len(moving):]
        return list(jvp(lambda *some: tuple(among(xs, moving, graph, some)),
                        tuple(xs[n] for n in moving), tuple(dxs))[1])
    given = [*xs, *[dxs[n] for n in moving]]
    other = graph.other(("jvp", *moving), pushed, list(map(aval_of, given)))
    return Parts(parts(other, called(other, given)))


def _batch(size: int, axes: Any, *xs: Any, graph: Any) -> Any:
    def batched(*values: Any) -> list[Any]:
        return list(vmap(lambda *some: tuple(graph(*some)), in_axes=tuple(axes))(*values))
    other = graph.other(("batch", size, *axes), batched, list(map(aval_of, xs)))
    return tuple(parts(other, called(other, xs))), 0


def _known(*avals: Any, graph: Any) -> Any:
    return tuple(o.aval for o in graph.outputs)


def _lower(b: ProgramBuilder, *refs: Any, graph: Any) -> Any:
    env = dict(zip(graph.inputs, refs, strict=True))

    def read(n: Any) -> Any:
        return env[n] if n in env else b.const(n.value)
    for n in graph.nodes:
        env[n] = lowered_row(b, n, list(map(read, n.inputs)))
    return tuple(map(read, graph.outputs))


JIT = register(Primitive(
    "jit", run, aval=_known, vjp=_pull, jvp=_push, batch=_batch, lower=_lower,
    keeps=frozenset("x"), several=True,
    label=Label("jit({0}, ...)", r"\mathrm{{jit}}({0}, \dots)", ("",), "compiled function")))
