"""The row `scan`: a Body run a fixed number of times. Its derivatives are scans again.

Arguments are the carries, then the stacks (whose row t goes to turn t), then values that every turn
sees. Results are the last carries, then one stack for each further output of the Body.

Backward, the Body of the transposed scan carries the cotangents of the carries, and the sums of
those of the shared values; cotangents of stacks come out as stacks. What it reads of the forward
turns are further outputs of these: `with_residuals` adds them where a gradient can be asked for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import MODES, NO_PARAMS, Node, aval, constant, node, private
from adjoint.core.primitive import LEAF, REGISTRY, Label, Primitive, register
from adjoint.core.reverse import Tracked
from adjoint.ops.loops import Builder, Index, straight
from adjoint.ops.several import Parts, item
from adjoint.ops.shape import broadcast_to, moveaxis

from .control_graphs import (
    ITEM,
    Body,
    asked,
    batched,
    blank,
    needed,
    pulled,
    pushed,
    quiet,
    strong,
    turned,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ADD = REGISTRY["add"]
Key = tuple[Node, int | None]


def _impl(*xs: Any, graph: Body, carries: int, stacks: int, count: int, reverse: bool
          ) -> tuple[Any, ...]:
    state, columns, shared = list(xs[:carries]), xs[carries:][:stacks], xs[carries + stacks:]
    outs = [np.empty((count, *o.aval.shape), o.aval.dtype) for o in graph.outputs[carries:]]
    with graph.silence():
        for t in range(count)[::-1 if reverse else 1]:
            found = graph.compute([*state, *[x[t] for x in columns], *shared])
            state = found[:carries]
            for out, y in zip(outs, found[carries:], strict=True):
                out[t] = y
    return (*map(private, state), *outs)


def _known(*avals: Any, graph: Body, carries: int, count: int, **_: Any) -> tuple[Any, ...]:
    return (*[o.aval for o in graph.outputs[:carries]],
            *[aval((count, *o.aval.shape), o.aval.dtype) for o in graph.outputs[carries:]])


def parts(y: Any, count: int) -> list[Any]:
    """The results of a row with several, one by one."""
    return [item(y, index=k) if isinstance(y, Box) else y[k] for k in range(count)]


def ordered(groups: Sequence[Sequence[Any]]) -> list[Any]:
    """Groups of values as one list."""
    return [x for group in groups for x in group]


# ---- forward mode

def _push(dxs: Any, y: Any, *xs: Any, graph: Body, carries: int, stacks: int, count: int,
          reverse: bool) -> Any:
    start = {k for k, dx in enumerate(dxs) if dx is not None}
    body, moving, at = graph.made(("push", frozenset(start), carries, stacks),
                                  lambda: pushed_turn(graph, carries, stacks, start))
    dxs = {k: np.zeros(x.shape, x.dtype) if dxs[k] is None else dxs[k]
           for k, x in enumerate(xs) if k in moving}
    args = arranged([*xs], dxs, carries, stacks)
    inner = sum(k < carries for k in moving)
    found = with_residuals(SCAN, args, {
        "graph": body, "carries": carries + inner, "count": count, "reverse": reverse,
        "stacks": stacks + sum(carries <= k < carries + stacks for k in moving)})
    tangents = dict(zip(at, parts(found, len(body.outputs))[carries:], strict=True))
    return Parts(tangents.get(k) for k in range(len(graph.outputs)))


def arranged(xs: Sequence[Any], more: dict[int, Any], carries: int, stacks: int) -> list[Any]:
    """Arguments, and ``more`` of those at some positions, in the order of a scan."""
    ends = (0, carries, carries + stacks, len(xs))
    return ordered([[*xs[a:b], *[more[k] for k in range(a, b) if k in more]]
                    for a, b in pairwise(ends)])


def pushed_turn(graph: Body, carries: int, stacks: int, start: set[int]) -> Any:
    """The Body of the scan that computes tangents; the inputs and the outputs that have them.

    Of the outputs it has the carries, and the tangents of all.
    """
    moving = turned(graph, carries, start)
    wanted = tuple(k for k in range(carries) if k in moving)
    inner = pushed(graph, tuple(sorted(moving)), wanted)
    n, outs = len(graph.inputs), len(graph.outputs)
    dxs = dict(zip(sorted(moving), inner.graph.inputs[n:], strict=True))
    ends = [*inner.graph.outputs[:carries], *inner.graph.outputs[outs:]]
    inputs = arranged(inner.graph.inputs[:n], dxs, carries, stacks)
    return quiet(Body(inputs, needed(ends, {*inputs}), ends)), moving, inner.outputs


# ---- reverse mode

class Transposed(NamedTuple):
    """The Body of the scan that goes back, and where its arguments come from."""

    graph: Body
    reads: list[Key]  # what each turn reads of the same turn, stacked
    own: list[int]  # stacks that it reads as they are
    shared: list[int]  # shared values that it reads
    ends: tuple[int, ...]  # outputs of which it takes cotangents; the carries are its own carries
    sums: list[int]  # shared values whose cotangents it adds up
    stacked: list[int]  # stacks whose cotangents it stacks


def transposed(graph: Body, carries: int, stacks: int, needs: frozenset[int],
               seeds: frozenset[int]) -> Transposed:
    """The turn backward, for cotangents of the outputs ``seeds``, to the inputs ``needs``."""
    moving = turned(graph, carries, needs)
    ends = asked(graph, carries, moving, seeds)
    if graph.root is not None and all(k < len(graph.root.outputs) for k in ends):
        graph = graph.root  # which has one, perhaps
    return graph.made(("pull", needs, ends, carries, stacks),
                      lambda: backward_turn(graph, carries, stacks, needs, moving, ends))


def backward_turn(graph: Body, carries: int, stacks: int, needs: frozenset[int], moving: set[int],
                  ends: tuple[int, ...]) -> Transposed:
    """The Body of the transposed scan, in the order of a scan."""
    common = range(carries + stacks, len(graph.inputs))
    pull = pulled(graph, tuple(sorted(moving)), ends, common)
    at = {n: k for k, n in enumerate(graph.inputs)}
    where = [at.get(n, -1) for n, _ in pull.reads]
    reads, dys = pull.graph.inputs[:len(where)], pull.graph.inputs[len(where):]
    through = [k for k in ends if k < carries]
    found = dict(zip(pull.gives, pull.graph.outputs, strict=True))
    sums = [k for k in common if k in found and k in needs]
    stacked = [k for k in range(carries, carries + stacks) if k in found and k in needs]
    totals = [node(LEAF, (), NO_PARAMS, None, strong(graph.inputs[k].aval)) for k in sums]
    added = [node(ADD, (a, found[k]), NO_PARAMS, None, a.aval)
             for a, k in zip(totals, sums, strict=True)]
    each = [j for j, k in enumerate(where) if k < carries]
    own = [j for j, k in enumerate(where) if carries <= k < carries + stacks]
    shared = [j for j, k in enumerate(where) if k >= carries + stacks]
    body = Body([*dys[:len(through)], *totals, *[reads[j] for j in (*each, *own)],
                 *dys[len(through):], *[reads[j] for j in shared]],
                [*pull.graph.nodes, *added],
                [*[found.get(k) or constant(blank(graph.inputs[k])) for k in through], *added,
                 *[found[k] for k in stacked]])
    return Transposed(quiet(body), [pull.reads[j] for j in each], [where[j] for j in own],
                      [where[j] for j in shared], ends, sums, stacked)


def _pull(dy: Any, y: Any, *xs_needs: Any, graph: Body, carries: int, stacks: int, count: int,
          reverse: bool) -> tuple[Any, ...]:
    *xs, needs = xs_needs
    wanted = frozenset(k for k, need in enumerate(needs) if need and graph.inputs[k].aval.inexact)
    if not count:  # the carry is what it was, whatever a turn would make of it
        return tuple(dy[k] if k < carries and k in wanted else None for k in range(len(xs)))
    seeds = frozenset(k for k, d in enumerate(dy)
                      if d is not None and graph.outputs[k].aval.inexact)
    back = transposed(graph, carries, stacks, wanted, seeds)
    if not back.ends:
        return (None,) * len(xs)
    params = {"carries": carries, "stacks": stacks, "count": count, "reverse": reverse}
    full = with_outputs(graph, carries, back.reads)
    if full is not graph:  # not foreseen when the scan ran: it runs once more
        y = with_residuals(SCAN, xs, {"graph": full, **params})
    y = parts(y, len(full.outputs))
    dys = {k: blank_like(graph, k, carries, count) if dy[k] is None else dy[k] for k in back.ends}
    sums = [blank(graph.inputs[k]) for k in back.sums]
    args = ordered([
        [dys[k] for k in back.ends if k < carries], sums,
        [y[place(full, carries, key)] for key in back.reads], [xs[k] for k in back.own],
        [dys[k] for k in back.ends if k >= carries], [xs[k] for k in back.shared]])
    through = [k for k in back.ends if k < carries]
    out = parts(with_residuals(SCAN, args, {
        "graph": back.graph, "carries": len(through) + len(sums), "count": count,
        "reverse": not reverse, "stacks": len(args) - len(through) - len(sums) - len(back.shared),
    }), len(back.graph.outputs))
    found = dict(zip([*through, *back.sums, *back.stacked], out, strict=True))
    return tuple(found.get(k) if k in wanted else None for k in range(len(xs)))


def blank_like(graph: Body, k: int, carries: int, count: int) -> Any:
    """The cotangent 0 of an output."""
    known = graph.outputs[k].aval
    return np.zeros(known.shape if k < carries else (count, *known.shape), known.dtype)


def place(graph: Body, carries: int, key: Key) -> int:
    """Which stacked output of the Body is the value ``key``; -1 if none is."""
    n, index = key
    for k, o in enumerate(graph.outputs[carries:], carries):
        if o is n if index is None else (
                o.prim is ITEM and o.inputs[0] is n and o.params["index"] == index):
            return k
    return -1


def with_outputs(graph: Body, carries: int, keys: Iterable[Key]) -> Body:
    """The Body with these values among its stacked outputs; itself if they are."""
    missing = [key for key in keys if place(graph, carries, key) < 0]
    if not missing:
        return graph

    def make() -> Body:
        items = {key: node(ITEM, (key[0],), {"index": key[1]}, None, key[0].aval[key[1]])
                 for key in missing if key[1] is not None}
        body = Body(graph.inputs, [*graph.nodes, *items.values()],
                    [*graph.outputs, *[items.get(key, key[0]) for key in missing]])
        body.root, body.quiet = graph.root or graph, graph.quiet
        return body
    return graph.made(("outputs", *missing), make)


def with_residuals(row: Primitive, xs: Sequence[Any], params: dict[str, Any]) -> Any:
    """Bind the row; where a gradient may be asked for, with what its transpose will read."""
    return bind(row, xs, _foresee(xs, **params))


def _foresee(xs: Sequence[Any], *, graph: Body, carries: int, stacks: int, **rest: Any
             ) -> dict[str, Any]:
    paused = MODES.get().paused
    wanted = frozenset(k for k, x in enumerate(xs)
                       if graph.inputs[k].aval.inexact and is_recorded(x, paused))
    if wanted:
        seeds = frozenset(k for k, o in enumerate(graph.outputs) if o.aval.inexact)
        back = transposed(graph, carries, stacks, wanted, seeds)
        graph = with_outputs(graph, carries, back.reads)
    return {"graph": graph, "carries": carries, "stacks": stacks, **rest}


def is_recorded(x: Any, paused: int) -> bool:
    """Whether reverse mode will come back to ``x``."""
    while isinstance(x, Box):
        if isinstance(x, Tracked) and x.node is not None and x.level >= paused:
            return True
        x = x.value
    return False


# ---- batches, and the loop language

def _batch(size: int, axes: Any, *xs: Any, graph: Body, carries: int, stacks: int, count: int,
           reverse: bool) -> tuple[Any, int]:
    start = frozenset(k for k, axis in enumerate(axes) if axis is not None)

    def make() -> Any:
        flags = turned(graph, carries, start, derivative=False)
        wanted = tuple(k for k in range(carries) if k in flags)
        return flags, batched(graph, tuple(k in flags for k in range(len(xs))), size, wanted)
    flags, inner = graph.made(("batch", start, size, carries), make)
    args: list[Any] = []
    for k, x in enumerate(xs):
        if k < carries and k in flags and k not in start:
            x = broadcast_to(x, (size, *graph.inputs[k].aval.shape))
        args.append(moveaxis(x, 0, 1) if carries <= k < carries + stacks and k in start else x)
    out = parts(with_residuals(SCAN, args, {
        "graph": inner.graph, "carries": carries, "stacks": stacks, "count": count,
        "reverse": reverse}), len(graph.outputs))
    return tuple(
        broadcast_to(y, (size, *y.shape)) if not mine else moveaxis(y, 1, 0) if k >= carries else y
        for k, (y, mine) in enumerate(zip(out, inner.outputs, strict=True))), 0


def flipped(b: Builder, x: Any) -> Any:
    """``x`` with its first axis turned round: a view."""
    first: Index = ((x.shape[0] - 1, ((0, -1),)),)
    return b.view(x, (*first, *straight(len(x.shape))[1:]), x.shape)


def _lower(b: Builder, *refs: Any, graph: Body, carries: int, stacks: int, count: int,
           reverse: bool) -> tuple[Any, ...]:
    """A loop of the language."""
    state, columns, shared = refs[:carries], refs[carries:][:stacks], refs[carries + stacks:]
    if not count:
        return (*state, *[b.const(np.zeros((0, *o.aval.shape), o.aval.dtype))
                          for o in graph.outputs[carries:]])
    rows = [flipped(b, x) if reverse else x for x in columns]
    y = b.loop(graph, count, state, [*rows, *shared], len(shared))
    out = [b.item(y, k) for k in range(len(graph.outputs))]
    return (*out[:carries], *[flipped(b, x) if reverse else x for x in out[carries:]])


SCAN = register(Primitive(
    "scan", _impl, aval=_known, jvp=_push, vjp=_pull, batch=_batch, lower=_lower,
    foresee=_foresee, keeps=frozenset({"x", "y"}), several=True,
    label=Label("scan({0}, ...)", r"\mathrm{{scan}}({0}, \dots)", ("",), "transposed scan")))
