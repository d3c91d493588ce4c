"""Bodies of control flow: Graphs that a function wrote, or that a transformation made of another.

Start at `Body`, then `Tracing` (how one is written). `pushed`, `pulled` and `batched` turn a Body
into one that computes tangents, cotangents or a whole batch, by running it once on Duals, Tracked
values or Batches that hold Symbols: the rules of the rows do the work, once for all turns.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box, Level, bind, escaped, live
from adjoint.core.forward import Dual, dual
from adjoint.core.node import MODES, NO_PARAMS, Mode, Node, aval, constant, leaf, node, switch
from adjoint.core.primitive import CONSTANT, LEAF, REGISTRY
from adjoint.core.reverse import Tracked, sweep, tracked
from adjoint.core.symbol import Graph, Symbol, Trace, symbol
from adjoint.errors import LevelError, MutationError, UnsupportedError
from adjoint.exits import bottom
from adjoint.ops.select import stop_gradient
from adjoint.ops.shape import broadcast_to
from adjoint.scalars import ScalarGraph, ScalarSymbol, is_changeable
from adjoint.tensors import Tensor, untracked

from .batching import Batch, batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ITEM, CAST = REGISTRY["item"], REGISTRY["cast"]


class Body(ScalarGraph):
    """A Graph whose values all come in as arguments, with what has been made of it."""

    __slots__ = ("derived", "plan", "quiet", "root")

    def __init__(self, inputs: Iterable[Node] = (), nodes: Iterable[Node] = (),
                 outputs: Iterable[Node] = ()) -> None:
        super().__init__()
        self.inputs, self.nodes, self.outputs = [*inputs], [*nodes], [*outputs]
        self.derived: dict[Any, Any] = {}
        self.plan: Plan | None = None
        self.root: Body | None = None  # the Body of which this one shows more
        self.quiet = False  # NumPy's warnings are off: infinity is meant, or thrown away

    def __call__(self, *values: Any) -> list[Any]:
        """The outputs on values, whatever Boxes they are."""
        if any(isinstance(x, Box) for x in values):
            return super().__call__(*values)
        with self.silence():
            return self.compute(values)

    def silence(self) -> Any:
        """The block in which turns are run."""
        return np.errstate(all="ignore") if self.quiet else nullcontext()

    def compute(self, xs: Sequence[Any]) -> list[Any]:
        """The outputs on plain arrays; where somebody watches, by way of `bind`."""
        if switch.armed and MODES.get().watch is not None:
            return super().__call__(*xs)
        if self.plan is None:
            self.plan = planned(self)
        weak, values, steps, outputs = self.plan
        env = [*xs, *values]
        for i in weak:
            env[i] = env[i].item() if hasattr(env[i], "item") else env[i]
        for impl, inputs, params, at, dead in steps:
            env[at] = impl(*[env[i] for i in inputs], **params)
            for i in dead:
                env[i] = None
        return [env[o] for o in outputs]

    def made(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` makes of this Body, once for each key."""
        key = (key, MODES.get().strict)
        if key not in self.derived:
            self.derived[key] = make()
        return self.derived[key]


class Plan(NamedTuple):
    """A Body for plain arrays: slots are numbered, inputs first."""

    weak: list[int]  # inputs that are Python numbers, which adopt the dtype that they meet
    values: list[Any]  # of the slots behind the inputs: constants, then room for the steps
    steps: list[tuple[Any, list[int], dict[str, Any], int, list[int]]]
    outputs: list[int]


def planned(graph: Graph) -> Plan:
    """The plan of a Graph."""
    used = {i for n in graph.nodes for i in n.inputs} | {*graph.outputs}
    constants = [n for n in used if n.prim is CONSTANT and n not in {*graph.inputs}]
    number = {n: k for k, n in enumerate((*graph.inputs, *constants, *graph.nodes))}
    last = {i: n for n in graph.nodes for i in n.inputs}
    fixed = {*graph.outputs, *constants}
    steps = [(n.prim.impl, [number[i] for i in n.inputs], n.params, number[n],
              [number[i] for i in {*n.inputs} if last[i] is n and i not in fixed])
             for n in graph.nodes]
    return Plan([k for k, n in enumerate(graph.inputs) if getattr(n.aval, "weak", False)],
                [*[n.value for n in constants], *[None] * len(graph.nodes)], steps,
                [number[o] for o in graph.outputs])


WRITES = ("the function writes into a tensor or array from outside, which every turn would have to "
          "see. Make it part of the carry and return its new value.")


class Ended(list[Node]):
    """The nodes of a Body that is finished: a Symbol of it that is used later finds it closed."""

    __slots__ = ()

    def append(self, n: Node, /) -> None:
        """Refuse the line."""
        raise LevelError(
            f"{n.prim}: a value was made inside a function under ad.scan, ad.map, ad.fori_loop, "
            "ad.while_loop or ad.cond, and is used after that call has ended, where it has no "
            "value. Return it from the function: as part of the carry, or of what is stacked.")


class Adopted(NamedTuple):
    """A Tensor that is state (of a random generator): what it held, its input, its next value."""

    tensor: Tensor
    before: Any
    node: Node
    after: Any = None


class Tracing(Trace):
    """The writing of one Body."""

    graph: Body  # pyright: ignore[reportIncompatibleVariableOverride] - a narrower class

    def __init__(self) -> None:
        super().__init__()
        self.graph = Body()
        self.stopped: dict[Node, Any] = {}
        self.before: list[tuple[Any, Any]] = []  # Tensors from outside, and what they held
        self.adopted: list[Adopted] = []
        self.born: dict[int, Tensor] = {}  # made by the body, which may write to them

    def input(self, known: Any) -> Symbol:
        """A new input of the Body."""
        return symbol(self.graph, super().input(known).node, ScalarSymbol)

    def argument(self, known: Any, kind: str) -> Tensor:
        """A new argument of the function, which changes in place as what the caller gave."""
        s = self.input(known)
        if kind == "array":
            self.graph.arrays.add(s.node)
        self.graph.tensors = self.graph.tensors or kind == "tensor"
        return untracked(s)

    def bear(self, x: Tensor) -> None:
        """Note a Tensor that the body has made."""
        self.born[id(x)] = x

    def adopt_first(self, x: Tensor) -> None:
        """Refuse a write to a Tensor from outside, which would happen once and not each turn."""
        if isinstance(x.value, Box):
            return
        if id(x) not in self.born:
            raise MutationError(WRITES)
        x.value = symbol(self.graph, constant(x.value), ScalarSymbol)

    def open(self) -> Mode:
        """The block in which operations are written down."""
        return Mode(lambda modes: modes._replace(trace=self, watch=None, tapes=()))

    def barrier(self, args: Sequence[Any]) -> list[Any]:
        """Outside values become inputs; in a ``no_grad`` block of the body values are constants."""
        found = super().barrier(args)
        if MODES.get().paused <= self.level:
            return found
        return [self.stop(a) if isinstance(a, Symbol) and a.aval.__class__ is not tuple else a
                for a in found]

    def close(self, x: Box) -> Symbol:
        """The Symbol that stands for ``x``; what a Tensor holds is remembered."""
        if isinstance(x, Tensor) and id(x) not in self.symbols:
            self.before.append((x, x.value))
        s = super().close(x)
        if s.aval.__class__ is not tuple and not s.aval.shape and is_changeable(x):
            self.graph.arrays.add(s.node)
        return s

    def adopt(self, x: Tensor) -> None:
        """Let a Tensor from outside hold a Symbol: what the body makes of it is its next state."""
        if not self.owns(x):
            s = self.close(untracked(x.value))
            self.adopted.append(Adopted(x, x.value, s.node))
            x.value = s

    def restored(self) -> bool:
        """Give Tensors from outside their values again; whether one was written to in vain."""
        for k, a in enumerate(self.adopted):
            if a.after is None:
                self.adopted[k] = a._replace(after=a.tensor.value)
                a.tensor.value = a.before
        changed = [old for old in self.before if old[0].value is not old[1]]
        for x, value in changed:
            x.value = value
        return bool(changed)

    def stop(self, x: Symbol) -> Any:
        """``x`` as a constant."""
        if x.node not in self.stopped:
            self.stopped[x.node] = x  # the operation below passes here too
            y = stop_gradient(x)
            self.stopped[x.node] = self.stopped[y.node] = y
        return self.stopped[x.node]

    def output(self, y: Any) -> Node:
        """The Node of a result: of the body, closed over, or a constant."""
        if isinstance(y, Box) and not self.owns(y):
            y = self.close(y)
        while isinstance(y, Box) and not isinstance(y, Symbol):
            if y.level > self.level and y.level not in live:
                raise escaped(y)
            y = y.value
        if not isinstance(y, Symbol):
            return constant(np.asarray(y)[()])
        if not y.aval.weak:
            return y.node
        with self.open():  # what is written down around this one has no part in it
            return bind(CAST, (y,), {"dtype": y.dtype}).node

    def ended(self, outputs: Iterable[Any]) -> Body:
        """The finished Body, which computes ``outputs``, without the steps that they do not need.

        Closed-over values are its last inputs.
        """
        graph = self.graph
        graph.outputs = [self.output(y) for y in outputs]
        acts = [n for n in graph.nodes if n.prim.effects != "none"]
        graph.nodes = Ended(needed([*graph.outputs, *acts], {*graph.inputs}))
        return graph


def needed(outputs: Iterable[Node], stop: set[Node]) -> list[Node]:
    """The steps that ``outputs`` depend on, in order, those in ``stop`` and behind left out."""
    stack = list(outputs)
    found: dict[Node, None] = {}
    while stack:
        n = stack.pop()
        if n.inputs and n not in stop and n not in found:
            found[n] = None
            stack += n.inputs
    return sorted(found, key=lambda n: n.index)


def acts(graph: Graph) -> bool:
    """Whether a Body does something besides giving its results: a hook, a user's function."""
    return any(n.prim.effects in {"write", "callback"} for n in graph.nodes)


def quiet(graph: Body) -> Body:
    """The Body, without NumPy's warnings."""
    graph.quiet = True
    return graph


def run(graph: Graph, values: Sequence[Any]) -> dict[Node, Any]:
    """The value of every Node on ``values``, whatever Boxes they are."""
    env = dict(zip(graph.inputs, values, strict=True))
    for n in graph.nodes:
        if n.prim.effects == "callback" and n.prim.lower is None:
            raise UnsupportedError(
                f"{n.prim} is an ad.Function in the body of a loop or branch: its context belongs "
                "to one call, so the turns have no derivative and no batch. Write it with the "
                "library's operations, or use Python's own loop")
        args = [env.get(i, i.value) for i in n.inputs]
        y = bind(n.prim, args, n.params)
        if isinstance(y, Tracked) and not smooth(n):
            y = y.value  # of integers there is nothing to record
        made = bottom(y)
        if isinstance(made, Symbol) and made.node.site is None:
            made.node.site = n.site
        env[n] = y
    return env


def read(env: dict[Node, Any], n: Node) -> Any:
    """The value of an output."""
    return env.get(n, n.value)


# ---- what depends on what

def smooth(n: Node) -> bool:
    """Whether a derivative can flow into the value of ``n``."""
    known = n.aval
    return any(a.inexact for a in known) if isinstance(known, tuple) else known.inexact


def passes(n: Node) -> bool:
    """Whether a derivative can flow through the step ``n``."""
    return not n.prim.nondiff and smooth(n)


def reached(graph: Graph, start: Iterable[int], derivative: bool = True) -> set[Node]:
    """The Nodes that depend on the inputs at ``start``: all, or those by a derivative alone."""
    found = {graph.inputs[k] for k in start}
    for n in graph.nodes:
        if (not derivative or passes(n)) and any(i in found for i in n.inputs):
            found.add(n)
    return found


def turned(graph: Graph, carries: int, start: Iterable[int], derivative: bool = True) -> set[int]:
    """The inputs that vary when those at ``start`` do: carries take it into the next turn."""
    found = set(start)
    while True:
        nodes = reached(graph, found, derivative)
        more = {k for k in range(carries) if graph.outputs[k] in nodes and (
            not derivative or graph.inputs[k].aval.inexact)} - found
        if not more:
            return found
        found |= more


def asked(graph: Graph, carries: int, moving: set[int], start: Iterable[int]) -> tuple[int, ...]:
    """The outputs that get a cotangent in some turn when those at ``start`` have one at the end."""
    vary = reached(graph, moving)
    found = {k for k in start if graph.outputs[k] in vary}
    while True:
        nodes = {graph.outputs[k] for k in found}
        for n in reversed(graph.nodes):
            if n in nodes and n in vary:
                nodes.update(i for i in n.inputs if i in vary)
        more = {k for k in range(carries) if graph.inputs[k] in nodes} - found
        if not more:
            return tuple(sorted(found))
        found |= more


# ---- Bodies made of Bodies

def inside(x: Any, cls: type[Box], level: int) -> bool:
    """Whether ``x`` is a Box of this level."""
    return isinstance(x, cls) and x.level == level


class Pushed(NamedTuple):
    """What computes tangents: inputs, then tangents of those that move; outputs, then theirs."""

    graph: Body
    outputs: tuple[int, ...]  # the positions of the outputs that have a tangent


def pushed(graph: Body, moving: tuple[int, ...], wanted: tuple[int, ...] = ()) -> Pushed:
    """The Body and its derivative in one direction.

    The outputs ``wanted`` have a tangent, if only 0.
    """
    t = Tracing()
    with t.open():
        xs = [t.input(i.aval) for i in graph.inputs]
        dxs = {k: t.input(graph.inputs[k].aval) for k in moving}
        with Level() as level:
            env = run(graph, [dual(x, dxs[k], level) if k in dxs else x
                              for k, x in enumerate(xs)])
            outs = [read(env, o) for o in graph.outputs]
        mine = [inside(o, Dual, level) for o in outs]
        values = [o.value if m else o for o, m in zip(outs, mine, strict=True)]
        at = tuple(k for k, m in enumerate(mine) if m or k in wanted)
        tangents = [outs[k].tangent if mine[k] else blank(graph.outputs[k]) for k in at]
        return Pushed(quiet(t.ended([*values, *tangents])), at)


def strong(known: Any) -> Any:
    """The Aval of an array where ``known`` may be that of a Python number."""
    return aval(known.shape, known.dtype)


def blank(n: Node) -> Any:
    """The derivative 0 of a Node."""
    return np.zeros(n.aval.shape, n.aval.dtype)


def walked(graph: Body, moving: tuple[int, ...], ends: tuple[int, ...]) -> Any:
    """Run a Body and sweep it back from the outputs ``ends``, all on Symbols.

    Returns the Tracing (whose inputs are those of the Body, then the cotangents), the value of each
    Node of the Body, and {input: cotangent}.
    """
    t = Tracing()
    with t.open():
        xs = [t.input(i.aval) for i in graph.inputs]
        dys = [t.input(graph.outputs[k].aval) for k in ends]
        with Level() as level:
            leaves = {k: leaf(xs[k]) for k in moving}
            env = run(graph, [tracked(Tensor, x, level, leaves[k]) if k in leaves else x
                              for k, x in enumerate(xs)])
            seeds: dict[Node, Any] = {}
            for k, dy in zip(ends, dys, strict=True):
                y = read(env, graph.outputs[k])
                if inside(y, Tracked, level) and y.node is not None:
                    seeds[y.node] = seeds[y.node] + dy if y.node in seeds else dy
            found = sweep(seeds, retain=True)
    return t, env, {k: found[n] for k, n in leaves.items() if n in found}


class Pulled(NamedTuple):
    """What pulls cotangents back: values that the Body computed, then cotangents of its outputs."""

    graph: Body
    reads: tuple[tuple[Node, int | None], ...]  # a Node, and which item of it if it has several
    gives: tuple[int, ...]  # the inputs whose cotangents come out


def pulled(graph: Body, moving: tuple[int, ...], ends: tuple[int, ...], fixed: Iterable[int] = ()
           ) -> Pulled:
    """The derivative of a Body backward: from the outputs ``ends`` to the inputs ``moving``.

    It reads what the Body computed; views, and what hangs on the inputs ``fixed`` alone, it makes
    again.
    """
    t, env, found = walked(graph, moving, ends)
    origin: dict[Node, tuple[Node, int | None]] = {}
    for n, y in env.items():
        if isinstance(y := bottom(y), Symbol):
            origin.setdefault(y.node, (n, None))
    again = remade(graph, fixed)
    outputs = [t.output(dx) for dx in found.values()]
    for n in t.graph.nodes:
        if n.prim is ITEM and n not in origin and n.inputs[0] in origin:
            origin[n] = (origin[n.inputs[0]][0], n.params["index"])
    stop = {n for n, (source, index) in origin.items() if source not in again and (
        index is not None or not isinstance(source.aval, tuple))}
    nodes = needed(outputs, stop)
    used = {i for n in nodes for i in n.inputs} | {*outputs}
    fresh = {origin[n]: node(LEAF, (), NO_PARAMS, None, n.aval)
             for n in sorted(used & stop, key=lambda n: n.index)}
    into = {n: fresh[origin[n]] for n in used & stop}
    for n in nodes:
        m = into[n] = node(n.prim, tuple([into.get(i, i) for i in n.inputs]), n.params, None,
                           n.aval)
        m.site = n.site
    body = Body([*fresh.values(), *t.graph.inputs[len(graph.inputs):]], [into[n] for n in nodes],
                [into.get(o, o) for o in outputs])
    return Pulled(quiet(body), tuple(fresh), tuple(found))


def remade(graph: Body, fixed: Iterable[int]) -> set[Node]:
    """The Nodes that a pullback computes again instead of reading them."""
    moved = reached(graph, {*range(len(graph.inputs))} - {*fixed}, derivative=False)
    found: set[Node] = set()
    for n in graph.nodes:
        arrays = [i for i in n.inputs if i.prim is not CONSTANT]
        view = n.prim.alias and n.prim is not ITEM and len(arrays) == 1 and (
            arrays[0].aval.size <= n.aval.size)
        if view or (n not in moved and n.prim.effects == "none"):
            found.add(n)
    return found


def replayed(graph: Body, moving: tuple[int, ...], ends: tuple[int, ...], gives: tuple[int, ...]
             ) -> Body:
    """Inputs, then cotangents of the outputs ``ends``: the cotangents of the inputs ``gives``.

    It runs the Body again.
    """
    t, _, found = walked(graph, moving, ends)
    return quiet(t.ended([found.get(k, blank(graph.inputs[k])) for k in gives]))


class Batched(NamedTuple):
    """A Body for a whole batch, and which of its outputs differ from element to element."""

    graph: Body
    outputs: tuple[bool, ...]


def batched(graph: Body, flags: tuple[bool, ...], size: int, wanted: tuple[int, ...] = ()
            ) -> Batched:
    """The Body with one more axis, in front, on the inputs that ``flags`` says.

    The outputs ``wanted`` get it too, if need be by repeating them.
    """
    t = Tracing()
    with t.open():
        xs = [t.input(enlarged(i.aval, size) if f else i.aval)
              for i, f in zip(graph.inputs, flags, strict=True)]
        with Level() as level:
            env = run(graph, [batch(x, level) if f else x
                              for x, f in zip(xs, flags, strict=True)])
            outs = [read(env, o) for o in graph.outputs]
        mine = [inside(o, Batch, level) for o in outs]
        values = [o.value if m else o for o, m in zip(outs, mine, strict=True)]
        for k in wanted:
            if not mine[k]:
                values[k] = broadcast_to(values[k], (size, *graph.outputs[k].aval.shape))
        body = t.ended(values)
        body.quiet = graph.quiet
        return Batched(body, tuple(m or k in wanted for k, m in enumerate(mine)))


def enlarged(known: Any, size: int) -> Any:
    """The Aval with the batch in front."""
    return aval((size, *known.shape), known.dtype)
