"""checkpoint: forget the intermediate values of a function, and compute them again in the backward pass."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from adjoint.core.box import Box, Level, bind
from adjoint.core.node import Leaf, Mode, Node, aval_of, leaf
from adjoint.core.primitive import CONSTANT, Label, Primitive, register
from adjoint.core.reverse import order, tracked
from adjoint.core.symbol import Graph
from adjoint.ops.several import Parts, item
from adjoint.tensors import Tensor

from .gradients import jvp, vjp
from .trees import flatten, lift, unflatten

if TYPE_CHECKING:
    from collections.abc import Callable


def run_graph(*xs: Any, graph: Graph) -> tuple[Any, ...]:
    """The results of a recorded Graph on other values, whatever Boxes they are."""
    return tuple(graph(*xs))


def _pull(dy: Any, y: Any, *xs_needs: Any, graph: Graph) -> tuple[Any, ...]:
    *xs, needs = xs_needs
    wanted = [n for n, need in enumerate(needs) if need and aval_of(xs[n]).dtype.kind in "fc"]
    used = [k for k, part in enumerate(dy) if part is not None]

    def again(*some: Any) -> tuple[Any, ...]:
        full = list(xs)
        for n, x in zip(wanted, some, strict=True):
            full[n] = x
        out = graph(*full)
        return tuple(out[k] for k in used)
    _, pullback = vjp(again, *[xs[n] for n in wanted])
    parts = dict(zip(wanted, pullback(tuple(dy[k] for k in used)), strict=True))
    return tuple(parts.get(n) for n in range(len(xs)))


def _push(dxs: Any, y: Any, *xs: Any, graph: Graph) -> Any:
    moving = [n for n, dx in enumerate(dxs) if dx is not None]

    def again(*some: Any) -> tuple[Any, ...]:
        full = list(xs)
        for n, x in zip(moving, some, strict=True):
            full[n] = x
        return run_graph(*full, graph=graph)
    return Parts(jvp(again, tuple(xs[n] for n in moving), tuple(dxs[n] for n in moving))[1])


def _known(*avals: Any, graph: Graph) -> Any:
    return tuple(o.aval for o in graph.outputs)


def _lower(b: Any, *refs: Any, graph: Graph) -> Any:
    env = dict(zip(graph.inputs, refs, strict=True))
    for n in graph.nodes:
        env[n] = n.prim.lower(b, *[env[i] if i in env else b.const(i.value) for i in n.inputs], **n.params)
    return tuple(env[o] for o in graph.outputs)


CHECKPOINT = register(Primitive(
    "checkpoint", run_graph, aval=_known, vjp=_pull, jvp=_push, lower=_lower, keeps=frozenset("x"), several=True,
    label=Label("checkpoint({0}, ...)", r"\mathrm{{checkpoint}}({0}, \dots)", ("",), "recomputation")))


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` with less memory: what it computes inside is forgotten, and computed again in the backward pass.

    Memory falls from all intermediate values of f to its arguments; time grows by one forward pass of f. Values that f
    closes over get their gradients too. Python control flow in f is taken as it went the first time.

    >>> ad.grad(ad.checkpoint(lambda x: np.sin(np.exp(x))))(0.0) == ad.grad(lambda x: np.sin(np.exp(x)))(0.0)
    True
    """
    @functools.wraps(f)
    def forgetful(*args: Any, **kwargs: Any) -> Any:
        given, structure = flatten((args, kwargs))
        at = [n for n, x in enumerate(given) if isinstance(x, Box) or hasattr(x, "dtype") or isinstance(x, (float, complex))]
        at = [n for n in at if aval_of(given[n]).dtype.kind in "fc"]
        values = [given[n] if isinstance(given[n], Box) else lift(given[n]) for n in at]
        results, s, graph = record(f, given, structure, at, values)
        if not graph.outputs:
            return unflatten(s, results)
        y = bind(CHECKPOINT, [*values, *graph.closed], {"graph": graph})
        fresh = iter([item(y, index=k) if isinstance(y, Box) else y[k] for k in range(len(graph.outputs))])
        return unflatten(s, [next(fresh) if r is None else r for r in results])
    return forgetful


def record(f: Any, given: Any, structure: Any, at: Any, values: Any) -> Any:
    """Run ``f`` once and write down its steps without their values; None among the results is an output of the Graph."""
    with Level() as level:
        leaves = [leaf(v) for v in values]
        inner = list(given)
        for n, v, node in zip(at, values, leaves, strict=True):
            inner[n] = tracked(Tensor, v, level, node)
        args, kwargs = unflatten(structure, inner)
        with Mode(lambda modes: modes._replace(whole=True)):
            results, s = flatten(f(*args, **kwargs))
        graph = Graph()
        graph.outputs = [r.node for r in results if isinstance(r, Tensor) and r.level == level and r.node is not None]
        results = [None if isinstance(r, Tensor) and r.level == level and r.node is not None else
                   r.value if isinstance(r, Tensor) and r.level == level else r for r in results]
    close(graph, leaves)
    return results, s, graph


def close(graph: Graph, leaves: list[Leaf]) -> None:
    """Find the steps, and make tracked constants (values closed over) inputs of the Graph."""
    graph.inputs = list[Node](leaves)
    for n in reversed(order(graph.outputs)):
        if n.inputs:
            graph.nodes.append(n)
            n.value = None
        elif n.prim is CONSTANT and isinstance(n.value, Box):
            graph.inputs.append(n)
            graph.closed.append(n.value)


