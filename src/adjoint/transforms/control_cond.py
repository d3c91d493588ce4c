"""The row `cond`: one of two Bodies, chosen by a value.

Arguments are the truth value, then what both Bodies get. Its derivatives choose in the same way
between the derivatives of the Bodies; backward, the one that was taken is run again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import bind
from adjoint.core.primitive import Label, Primitive, register
from adjoint.ops.loops import cast
from adjoint.ops.select import where
from adjoint.ops.several import Parts
from adjoint.ops.shape import reshape

from .control_graphs import Body, acts, batched, pushed, quiet, reached, replayed
from .control_scan import parts

if TYPE_CHECKING:
    from adjoint.ops.loops import Builder

Branches = tuple[Body, Body]  # for False and for True


def _impl(pred: Any, *xs: Any, branches: Branches) -> tuple[Any, ...]:
    return tuple(branches[bool(pred)](*xs))


def _known(pred: Any, *avals: Any, branches: Branches) -> tuple[Any, ...]:
    return tuple(o.aval for o in branches[0].outputs)


def _push(dxs: Any, y: Any, pred: Any, *xs: Any, branches: Branches) -> Any:
    moving = tuple(k for k, dx in enumerate(dxs[1:]) if dx is not None)
    ends = varying(branches, moving)
    count = len(branches[0].outputs)

    def make(body: Body) -> Body:
        graph = pushed(body, moving, ends).graph
        return quiet(Body(graph.inputs, graph.nodes, graph.outputs[count:]))
    both = tuple(g.made(("push", moving, ends), partial(make, g)) for g in branches)
    dys = bind(COND, [pred, *xs, *[dxs[1 + k] for k in moving]], {"branches": both})
    found = dict(zip(ends, parts(dys, len(ends)), strict=True))
    return Parts(found.get(k) for k in range(count))


def varying(branches: Branches, moving: tuple[int, ...]) -> tuple[int, ...]:
    """The outputs that have a derivative by the inputs ``moving`` in one branch at least."""
    nodes = [reached(g, moving) for g in branches]
    return tuple(k for k in range(len(branches[0].outputs))
                 if any(g.outputs[k] in n for g, n in zip(branches, nodes, strict=True)))


def _pull(dy: Any, y: Any, pred: Any, *xs_needs: Any, branches: Branches) -> tuple[Any, ...]:
    *xs, needs = xs_needs
    moving = tuple(k for k, i in enumerate(branches[0].inputs)
                   if needs[1 + k] and i.aval.inexact)
    ends = tuple(k for k in varying(branches, moving) if dy[k] is not None)
    if not ends:
        return (None,) * (1 + len(xs))
    both = tuple(g.made(("pull", moving, ends), partial(replayed, g, moving, ends, moving))
                 for g in branches)
    dxs = bind(COND, [pred, *xs, *[dy[k] for k in ends]], {"branches": both})
    found = dict(zip(moving, parts(dxs, len(moving)), strict=True))
    return (None, *[found.get(k) for k in range(len(xs))])


def _batch(size: int, axes: Any, pred: Any, *xs: Any, branches: Branches) -> tuple[Any, int]:
    flags = tuple(axis is not None for axis in axes[1:])
    every = tuple(range(len(branches[0].outputs)))
    both = tuple(g.made(("batch", flags, size), lambda g=g: batched(g, flags, size, every).graph)
                 for g in branches)
    if axes[0] is None:
        return tuple(parts(bind(COND, [pred, *xs], {"branches": both}), len(every))), 0
    with np.errstate(all="ignore"):  # what the other branch would make of an element
        no, yes = (g(*xs) for g in both)
    return tuple(where(reshape(pred != 0, (size, *(1,) * (len(a.shape) - 1))), a, b)
                 for a, b in zip(yes, no, strict=True)), 0


def _lower(b: Builder, *refs: Any, branches: Branches) -> Any:
    """A branch of the language; a call where a body acts on what is outside."""
    known = _known(*refs, branches=branches)
    if any(map(acts, branches)):
        return b.call(partial(_impl, branches=branches), refs, known)
    pred, *xs = refs
    xs = [cast(b, x, i.aval.dtype) for x, i in zip(xs, branches[0].inputs, strict=True)]
    y = b.branch(cast(b, pred, pred.dtype), branches, xs)
    return tuple(b.item(y, k) for k in range(len(known)))


COND = register(Primitive(
    "cond", _impl, aval=_known, jvp=_push, vjp=_pull, batch=_batch, lower=_lower,
    keeps=frozenset("x"), several=True,
    label=Label("cond({0}, ...)", r"\mathrm{{cond}}({0}, \dots)", ("",), "the branch taken")))
