"""checkpoint: forget what a function computes inside, and compute it again in the backward pass."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import Leaf, Mode, Node, aval_of, leaf
from adjoint.core.primitive import CONSTANT, Label, Primitive, register
from adjoint.core.reverse import order, tracked
from adjoint.core.symbol import Graph
from adjoint.errors import MutationError
from adjoint.exits import bottom, is_concrete
from adjoint.methods import rebind
from adjoint.ops.loops import lowered_row
from adjoint.ops.several import Parts, item
from adjoint.tensors import Tensor, conjugate

from .batching import vmap
from .gradients import jvp, vjp
from .trees import Over, check_function, flatten, kind_of_all, lift, unflatten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Program(Graph):
    """The Graph of one call, with its results until the row has taken them."""

    __slots__ = ("ready",)
    ready: tuple[Any, ...] | None


def run_graph(*xs: Any, graph: Any) -> tuple[Any, ...]:
    """The results of the Graph on ``xs``, whatever Boxes they are; the first ones are known."""
    ready = graph.ready
    if ready is not None:
        graph.ready = None
        return ready
    return tuple(graph(*xs))


def among(xs: Sequence[Any], at: Sequence[int], graph: Any) -> Callable[..., list[Any]]:
    """The Graph as a function of the arguments ``at`` alone."""
    def again(*some: Any) -> list[Any]:
        full = list(xs)
        for n, x in zip(at, some, strict=True):
            full[n] = x
        return graph(*full)
    return again


def _pull(dy: Any, y: Any, *xs_needs: Any, graph: Any) -> tuple[Any, ...]:
    *xs, needs = xs_needs
    wanted = [n for n, need in enumerate(needs) if need and aval_of(xs[n]).inexact]
    used = [k for k, part in enumerate(dy) if part is not None]
    run = among(xs, wanted, graph)

    def again(*some: Any) -> tuple[Any, ...]:
        out = run(*some)
        return tuple(out[k] for k in used)
    _, pullback = vjp(again, *[xs[n] for n in wanted])
    # A sweep carries transposes, `vjp` speaks of gradients: of complex values their conjugates.
    pulled = pullback(tuple(conjugate(dy[k]) for k in used))
    parts = {n: conjugate(dx) for n, dx in zip(wanted, pulled, strict=True)}
    return tuple(parts.get(n) for n in range(len(xs)))


def _push(dxs: Any, y: Any, *xs: Any, graph: Any) -> Any:
    moving = [n for n, dx in enumerate(dxs) if dx is not None]
    primals, tangents = tuple(xs[n] for n in moving), tuple(dxs[n] for n in moving)
    return Parts(jvp(among(xs, moving, graph), primals, tangents)[1])


def _batch(size: int, axes: Any, *xs: Any, graph: Any) -> Any:
    return tuple(vmap(graph.__call__, in_axes=tuple(axes))(*xs)), 0


def _known(*avals: Any, graph: Any) -> Any:
    return tuple(o.aval for o in graph.outputs)


def _lower(b: Any, *refs: Any, graph: Any) -> Any:
    env = dict(zip(graph.inputs, refs, strict=True))
    for n in graph.nodes:
        inputs = [env[i] if i in env else b.const(i.value) for i in n.inputs]
        env[n] = lowered_row(b, n, inputs)
    return tuple(env[o] for o in graph.outputs)


CHECKPOINT = register(Primitive(
    "checkpoint", run_graph, aval=_known, vjp=_pull, jvp=_push, batch=_batch, lower=_lower,
    keeps=frozenset("x"), several=True,
    label=Label("checkpoint({0}, ...)", r"\mathrm{{checkpoint}}({0}, \dots)", ("",),
                "recomputation")))


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` with less memory: what it computes inside is forgotten, and computed again backward.

    Memory falls from all intermediate values of f to its arguments; time grows by one forward pass
    of f. Values that f closes over get their gradients too. Python control flow in f is taken as it
    went the first time.

    >>> ad.grad(ad.checkpoint(lambda x: np.sin(np.exp(x))))(0.0)
    0.5403023058681398
    """
    check_function(f, "ad.checkpoint(f)")

    @functools.wraps(f)
    def forgetful(*args: Any, **kwargs: Any) -> Any:
        given, structure = flatten((args, kwargs))
        at = [n for n, x in enumerate(given) if is_variable(x)]
        values = [given[n] if isinstance(given[n], Box) else lift(given[n]) for n in at]
        kind = kind_of_all([given[n] for n in at])
        results, s, graph, computed, changed = record(f, given, structure, at, values)
        fresh: Any = ()
        if graph.outputs:
            y = bind(CHECKPOINT, [*values, *graph.closed], {"graph": graph})
            fresh = [item(y, index=k) if isinstance(y, Box) else y[k]
                     for k in range(len(graph.outputs))]
        made = [x if k is None else fresh[k] for k, x in computed]
        for n, r in changed.items():
            overwrite(given[n], made[r], sum(x is given[n] for x in given) > 1)
        made = [*map(kind, made)]
        return unflatten(s, [given[r.argument] if isinstance(r, Argument) else
                             made[r.number] if isinstance(r, Result) else r for r in results])
    return forgetful


def is_variable(x: Any) -> bool:
    """Whether a leaf of the arguments can have a gradient."""
    return isinstance(x, (Box, np.ndarray, np.generic)) and aval_of(x).inexact


class Argument(NamedTuple):
    """Among the results of a function: one of its arguments, which everyone who holds it sees."""

    argument: int


class Result(NamedTuple):
    """Among the results of a function: a value that it made. Twice the same is one object."""

    number: int


def overwrite(x: Any, y: Any, twice: bool) -> None:
    """Let an argument that the function changed in place hold what it made of it."""
    what = "ad.checkpoint(f)(x), where f changes its argument x"
    if twice:
        raise MutationError(f"{what} in place: x is passed twice, and f got two values of it; "
                            "pass one of them as x.copy()")
    if isinstance(x, Box):
        check_leaf: Any = getattr(x, "check_leaf", None)
        if check_leaf is not None:
            check_leaf(what)
        rebind(x, y, what)
    elif isinstance(y, Box):
        raise MutationError(f"{what} in place: x is an array, which holds no tracked value; write "
                            "y = x.copy() in f and change that")
    else:
        x[...] = y


def record(f: Any, given: Any, structure: Any, at: Any, values: Any) -> Any:
    """Run ``f`` once and write down its steps without their values.

    Returns the results, with an `Argument` or a `Result` for each of this call; their structure;
    the Graph; of each Result its place among the outputs, and its value if it is a constant (None
    for the other); and {argument that was changed in place: number of the Result that it holds}.
    """
    concrete = all(map(is_concrete, values))
    leaves = [leaf(bottom(v) if concrete else v) for v in values]
    with Over([given[n] for n in at]) as level:
        inner = list(given)
        for n, node in zip(at, leaves, strict=True):
            inner[n] = tracked(Tensor, node.value, level, node)
        args, kwargs = unflatten(structure, inner)
        with Mode(lambda modes: modes._replace(whole=True)):
            results, s = flatten(f(*args, **kwargs))
    outputs, computed, numbers = list[Any](), list[tuple[int | None, Any]](), dict[int, int]()

    def number(r: Tensor) -> int:
        if id(r) not in numbers:
            numbers[id(r)] = len(computed)
            computed.append((None, r.value) if r.node is None else (len(outputs), None))
            outputs.extend([r] if r.node is not None else [])
        return numbers[id(r)]
    changed = {n: number(inner[n]) for n, node in zip(at, leaves, strict=True)
               if inner[n].node is not node}
    own = {id(inner[n]): Argument(n) for n in at}
    results = [own[id(r)] if id(r) in own else Result(number(r)) if isinstance(r, Tensor) and (
        r.level == level) else r for r in results]
    graph = Program()
    graph.outputs = [r.node for r in outputs]
    ready = [bottom(r.value) for r in outputs]
    graph.ready = tuple(ready) if concrete and all(map(is_concrete, outputs)) else None
    close(graph, leaves)
    return results, s, graph, computed, changed


def close(graph: Graph, leaves: list[Leaf]) -> None:
    """Find the steps, and make Boxes among the constants (closed over) inputs of the Graph."""
    graph.inputs = list[Node](leaves)
    for n in reversed(order(graph.outputs)):
        if n.inputs:
            graph.nodes.append(n)
            n.value = None
        elif n.prim is CONSTANT and isinstance(n.value, Box):
            graph.inputs.append(n)
            graph.closed.append(n.value)
    for n in leaves:
        n.value = None
