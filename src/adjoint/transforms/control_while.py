"""The row `while_loop`: a function whose number of turns is known only where values are.

The parameter is the function, an object that can be run on values that exist, be batched, and be
differentiated: `Turns` is the loop itself. Where the values of its arguments exist, its transpose
is that of a `scan` of as many turns. Where they do not yet (in a batch, or while a program is
traced) the transpose is this row again, with a function that will do that when it runs: `Pulled`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, Level, bind
from adjoint.core.forward import Dual, dual
from adjoint.core.node import NO_PARAMS, aval, leaf, node, private
from adjoint.core.primitive import LEAF, Label, Primitive, register
from adjoint.core.reverse import Tracked, sweep, tracked
from adjoint.core.symbol import Symbol
from adjoint.exits import bottom
from adjoint.ops.loops import cast
from adjoint.ops.reduce import any as any_of
from adjoint.ops.select import where
from adjoint.ops.several import Parts
from adjoint.ops.shape import broadcast_to, reshape
from adjoint.tensors import Tensor

from .batching import Batch
from .control_graphs import (
    Body,
    Tracing,
    acts,
    batched,
    blank,
    enlarged,
    inside,
    quiet,
    reached,
    strong,
    turned,
)
from .control_scan import SCAN, parts, pushed_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adjoint.ops.loops import Builder

COUNT = aval((), np.dtype(np.int64))


class Turns:
    """The loop itself: ``body`` as long as ``condition`` holds. Both get all of the arguments.

    The first ``carries`` arguments are the carry. Results are the last one, and the number of
    turns.
    """

    def __init__(self, condition: Body, body: Body, carries: int) -> None:
        self.condition, self.body, self.carries = condition, body, carries
        self.inputs = [i.aval for i in body.inputs]
        self.known = (*[o.aval for o in body.outputs], COUNT)

    def __call__(self, *xs: Any) -> Sequence[Any]:
        """Run it on values that exist."""
        if any(isinstance(x, Box) for x in xs):
            return parts(bind(WHILE, xs, {"function": self}), len(self.known))
        state, rest, count = list(xs[:self.carries]), xs[self.carries:], 0
        with self.body.silence():
            while self.condition.compute([*state, *rest])[0]:
                state, count = self.body.compute([*state, *rest]), count + 1
        return *map(private, state), np.int64(count)

    def batched(self, flags: Sequence[bool], size: int) -> tuple[Turns, list[bool]]:
        """The loop for a whole batch, and the arguments that are another for each element.

        With a truth value for each element it runs until none holds; the elements whose own does
        not hold any more keep their values.
        """
        start = {k for k, f in enumerate(flags) if f}
        moving = turned(self.body, self.carries, start, derivative=False)
        each = self.condition.outputs[0] in reached(self.condition, moving, derivative=False)
        if each:
            moving |= {*range(self.carries)}
        marks = tuple(k in moving for k in range(len(self.inputs)))
        wanted = tuple(k for k in range(self.carries) if marks[k])
        body = batched(self.body, marks, size, wanted).graph
        condition = batched(self.condition, marks, size).graph
        if each:
            condition, body = frozen(condition, body, self.carries)
        return Turns(condition, body, self.carries), list(marks)


def frozen(condition: Body, body: Body, carries: int) -> tuple[Body, Body]:
    """The condition that one element holds, and the body that leaves the others as they are."""
    test, turn = Tracing(), Tracing()
    with test.open():
        holds, = condition(*[test.input(i.aval) for i in condition.inputs])
        any_holds = any_of(holds)
    with turn.open():
        xs = [turn.input(i.aval) for i in body.inputs]
        holds, = condition(*xs)
        ys = [where(reshape(holds, (holds.shape[0], *(1,) * (y.ndim - 1))), y, x)
              for x, y in zip(xs[:carries], body(*xs), strict=True)]
    return test.ended([any_holds]), quiet(turn.ended(ys))


class Derived:
    """A derivative of such a function, to be run when its arguments have values."""

    inputs: list[Any]
    known: tuple[Any, ...]

    def __init__(self, function: Any, moving: tuple[int, ...], ends: tuple[int, ...]) -> None:
        self.function, self.moving, self.ends = function, moving, ends

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        """Run it on values that exist."""
        raise NotImplementedError

    def batched(self, flags: Sequence[bool], size: int) -> tuple[Derived, list[bool]]:
        """The derivative for a whole batch, in which every argument is another for each element."""
        every = [True] * len(self.function.inputs)
        function = self.function.batched(every, size)[0]
        return type(self)(function, self.moving, self.ends), [True] * len(flags)


class Pulled(Derived):
    """Arguments, then cotangents of the results ``ends``: the cotangents of those ``moving``."""

    def __init__(self, function: Any, moving: tuple[int, ...], ends: tuple[int, ...]) -> None:
        super().__init__(function, moving, ends)
        self.inputs = [*function.inputs, *[function.known[k] for k in ends]]
        self.known = tuple(strong(function.inputs[k]) for k in moving)

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        """Run the function, and sweep back."""
        xs, dys = list(args[:len(self.function.inputs)]), args[len(self.function.inputs):]
        with Level() as level:
            leaves = [leaf(xs[k]) for k in self.moving]
            for k, n in zip(self.moving, leaves, strict=True):
                xs[k] = tracked(Tensor, xs[k], level, n)
            out, seeds = self.function(*xs), dict[Any, Any]()
            for k, dy in zip(self.ends, dys, strict=True):
                if inside(out[k], Tracked, level) and (n := out[k].node) is not None:
                    seeds[n] = seeds[n] + dy if n in seeds else dy
            with np.errstate(all="ignore"):
                found = sweep(seeds, retain=True)
        return tuple(found.get(n) if n in found else blank(n) for n in leaves)


class Pushed(Derived):
    """Arguments, then tangents of those ``moving``: the tangents of the results ``ends``."""

    def __init__(self, function: Any, moving: tuple[int, ...], ends: tuple[int, ...]) -> None:
        super().__init__(function, moving, ends)
        self.inputs = [*function.inputs, *[function.inputs[k] for k in moving]]
        self.known = tuple(function.known[k] for k in ends)

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        """Run the function on values with tangents."""
        xs, dxs = list(args[:len(self.function.inputs)]), args[len(self.function.inputs):]
        with Level() as level:
            for k, dx in zip(self.moving, dxs, strict=True):
                xs[k] = dual(xs[k], dx, level)
            out = self.function(*xs)
            return tuple(out[k].tangent if inside(out[k], Dual, level) else
                         np.zeros(self.function.known[k].shape, self.function.known[k].dtype)
                         for k in self.ends)


def exists(x: Any) -> bool:
    """Whether ``x`` has one value now, under whatever derivatives."""
    while isinstance(x, Box):
        if isinstance(x, (Symbol, Batch)):
            return False
        x = x.value
    return True


def now(function: Any, args: Sequence[Any]) -> list[Any]:
    """The function on values that exist; else the row, which will run it."""
    if all(map(exists, args)):
        return list(function(*args))
    return parts(bind(WHILE, args, {"function": function}), len(function.known))


# ---- the rules of the row

def _impl(*xs: Any, function: Any) -> tuple[Any, ...]:
    return tuple(function(*xs))


def _known(*avals: Any, function: Any) -> tuple[Any, ...]:
    return function.known


def _push(dxs: Any, y: Any, *xs: Any, function: Any) -> Any:
    start = tuple(k for k, dx in enumerate(dxs) if dx is not None)
    if isinstance(function, Turns):
        return push_turns(dxs, xs, function, {*start})
    ends = tuple(k for k, a in enumerate(function.known) if a.inexact)
    out = now(Pushed(function, start, ends), [*xs, *[dxs[k] for k in start]])
    found = dict(zip(ends, out, strict=True))
    return Parts(found.get(k) for k in range(len(function.known)))


def push_turns(dxs: Any, xs: Any, function: Turns, start: set[int]) -> Any:
    """The loop with the tangents of the carry as more carries."""
    carries = function.carries
    body, moving, at = function.body.made(
        ("push", frozenset(start), carries, 0),
        lambda: pushed_turn(function.body, carries, 0, start))
    more = {k: blank(function.body.inputs[k]) if dxs[k] is None else dxs[k]
            for k in range(len(xs)) if k in moving}
    condition = Body(
        arranged(function.condition.inputs, {k: fresh(function.inputs[k]) for k in more}, carries),
        function.condition.nodes, function.condition.outputs)
    turns = Turns(condition, body, carries + sum(k < carries for k in moving))
    out = parts(bind(WHILE, arranged(xs, more, carries), {"function": turns}), turns.carries)
    found = dict(zip(at, out[carries:], strict=True))
    return Parts(found.get(k) for k in range(len(function.known)))


def arranged(xs: Sequence[Any], more: dict[int, Any], carries: int) -> list[Any]:
    """Carries, more carries, the other arguments, more of them."""
    return [*xs[:carries], *[x for k, x in more.items() if k < carries],
            *xs[carries:], *[x for k, x in more.items() if k >= carries]]


def fresh(known: Any) -> Any:
    """An input that is not read."""
    return node(LEAF, (), NO_PARAMS, None, known)


def _pull(dy: Any, y: Any, *xs_needs: Any, function: Any) -> tuple[Any, ...]:
    *xs, needs = xs_needs
    moving = tuple(k for k, a in enumerate(function.inputs) if needs[k] and a.inexact)
    ends = tuple(k for k, a in enumerate(function.known) if dy[k] is not None and a.inexact)
    if not moving or not ends:
        return (None,) * len(xs)
    if isinstance(function, Turns) and all(map(exists, xs)):
        count = int(bottom(parts(y, len(function.known))[-1]))
        return SCAN.vjp(dy[:-1], y, *xs, needs, graph=function.body, carries=function.carries,
                        stacks=0, count=count, reverse=False)
    out = now(Pulled(function, moving, ends), [*xs, *[dy[k] for k in ends]])
    found = dict(zip(moving, out, strict=True))
    return tuple(found.get(k) for k in range(len(xs)))


def _batch(size: int, axes: Any, *xs: Any, function: Any) -> tuple[Any, int]:
    flags = [axis is not None for axis in axes]
    inner, marks = function.batched(flags, size)
    args = [broadcast_to(x, (size, *a.shape)) if m and not f else x
            for x, a, m, f in zip(xs, function.inputs, marks, flags, strict=True)]
    out = now(inner, args)
    return tuple(y if a.shape == enlarged(known, size).shape else broadcast_to(y, (size, *y.shape))
                 for y, a, known in zip(out, inner.known, function.known, strict=True)), 0


def _lower(b: Builder, *refs: Any, function: Any) -> Any:
    """A loop of the language; a call where a body acts on what is outside, and of a derivative."""
    if not isinstance(function, Turns) or acts(function.body) or acts(function.condition):
        return b.call(partial(_impl, function=function), refs, function.known)
    xs = [cast(b, x, known.dtype) for x, known in zip(refs, function.inputs, strict=True)]
    y = b.repeat(function.condition, function.body, xs[:function.carries], xs[function.carries:])
    return tuple(b.item(y, k) for k in range(len(function.known)))


WHILE = register(Primitive(
    "while_loop", _impl, aval=_known, jvp=_push, vjp=_pull, batch=_batch, lower=_lower,
    keeps=frozenset({"x", "y"}), several=True,
    label=Label("while({0}, ...)", r"\mathrm{{while}}({0}, \dots)", ("",), "the turns backward")))
