"""A value that does not exist yet: Symbol, and the Graph that its operations write.

A Symbol stands where an array would, below every other Box, so Tensors, Duals and Batches can hold
it unawares and every rule traces unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adjoint.errors import EscapeError, LevelError

from .box import Box, bind, new_level
from .node import MODES, NO_PARAMS, Mode, Node, constant, new, node
from .primitive import LEAF, Primitive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Graph:
    """A traced program: inputs, nodes in order, outputs, and the values that it closed over.

    The Nodes of closed-over values stand behind those of the arguments in ``inputs``, in the order
    of ``closed``.
    """

    __slots__ = ("closed", "inputs", "nodes", "outputs")

    def __init__(self) -> None:
        self.inputs: list[Node] = []
        self.nodes: list[Node] = []
        self.outputs: list[Node] = []
        self.closed: list[Any] = []

    def __call__(self, *values: Any) -> list[Any]:
        """Run the program on arguments, then closed-over values, whatever Boxes they are.

        A value is let go after its last use.
        """
        env = dict(zip(self.inputs, values, strict=True))
        last = {i: n for n in self.nodes for i in n.inputs} | dict.fromkeys(self.outputs)

        def read(n: Node) -> Any:
            return env.get(n, n.value)
        for n in self.nodes:
            xs, params = [read(i) for i in n.inputs], n.params
            env[n] = bind(n.prim, xs, n.prim.foresee(xs, **params) if n.prim.foresee else params)
            for i in {*n.inputs}:
                if last[i] is n:
                    env.pop(i, None)
        return [read(o) for o in self.outputs]

    def __repr__(self) -> str:
        return "\n".join(map(repr, (*self.inputs, *self.nodes)))


class Trace:
    """One tracing: the Graph being written, and the level at which the body began."""

    def __init__(self) -> None:
        self.graph, self.level = Graph(), new_level()
        self.symbols: dict[int, Symbol] = {}

    def input(self, known: Any) -> Symbol:
        """A new input of the Graph, of the given Aval."""
        n = node(LEAF, (), NO_PARAMS, None, known)
        self.graph.inputs.append(n)
        return symbol(self.graph, n)

    def barrier(self, args: Sequence[Any]) -> list[Any]:
        """``args`` with values from outside replaced by inputs, before any level acts on them."""
        return [self.close(a) if isinstance(a, Box) and not self.owns(a) else a for a in args]

    def owns(self, x: Any) -> bool:
        """Whether the body made ``x``: a Symbol of this Graph, or a transformation begun inside."""
        while isinstance(x, Box):
            if isinstance(x, Symbol):
                return x.graph is self.graph
            if x.level > self.level:
                return True
            x = x.value
        return False

    def close(self, x: Box) -> Symbol:
        """The Symbol that stands for ``x``, a value from outside."""
        if id(x) not in self.symbols:
            self.symbols[id(x)] = self.input(x.aval)
            self.graph.closed.append(x)  # keeps x alive, hence its id its own
        return self.symbols[id(x)]


class Symbol(Box):
    """A value that does not exist yet; applying a row to it writes one line of its Graph."""

    __slots__ = ("graph", "node")
    graph: Graph
    node: Node

    def interpret(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Symbol:
        """Write ``row`` down; its Aval rule says what the result will be."""
        for a in args:
            if isinstance(a, Symbol) and a.graph is not self.graph:
                raise LevelError(f"{row} mixes values of two traces: one of them has escaped from "
                                 "the function it was made in. Pass it in as an argument.")
        inputs = tuple([a.node if isinstance(a, Symbol) else constant(a) for a in args])
        n = node(row, inputs, params, None, row.aval(*[i.aval for i in inputs], **params))
        n.site = None if (site := MODES.get().site) is None else site()
        self.graph.nodes.append(n)
        return symbol(self.graph, n, self.__class__)

    def concrete(self) -> Any:
        """Always an error: there is no value."""
        raise EscapeError(
            f"this value ({self.aval}) does not exist yet: the function is being traced, so Python "
            "cannot branch on it, print it or index with it. Use ad.where(condition, x, y) to "
            "choose by element, ad.cond for a choice of branches, ad.take(a, i, axis=0) to index.")


def symbol(graph: Graph, n: Node, cls: type[Any] = Symbol) -> Any:
    """A Symbol, without its constructor."""
    s = new(cls)
    s.graph, s.node, s.aval, s.level, s.value = graph, n, n.aval, -1, None
    return s


def trace(f: Callable[..., Any], *avals: Any) -> tuple[Graph, Any]:
    """Run ``f`` on Symbols; return the Graph, and what ``f`` returned, Symbols and all."""
    t = Trace()
    with Mode(lambda modes: modes._replace(trace=t)):
        out = f(*map(t.input, avals))
    return t.graph, out
