"""Tracing a function whole: what it computes, and what it changes in the tensors that it reaches.

While the function runs, every tensor, number and array that it can reach holds a Symbol instead of
its value, so the library's ordinary code (``backward()``, an optimiser's step) writes down the
Graph of what it does. What holds something else afterwards has been assigned to: that is an output.
In the end everything gets back what it held. Other threads see none of that: tensors hold Symbols
for the tracing thread only (`shadows.py`), and what a number or an array was replaced by is to them
the number or the array (`traced.py`). Start at `trace`.
"""

from __future__ import annotations

import dis
import os
import sys
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import Leaf, Mode, Node, aval_of, constant, leaf
from adjoint.core.symbol import Symbol, Trace, symbol
from adjoint.errors import ArgumentError, EscapeError, GraphError
from adjoint.modes import site
from adjoint.scalars import ScalarGraph, is_changeable, of_tensors
from adjoint.tensors import Tensor
from adjoint.transforms.trees import flatten, unflatten

from . import shadows
from .places import Attribute, content, refill, snapshot, tells
from .reachable import reach
from .streams import drawn
from .traced import NUMBERS, Number, Once, Traced, active

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .places import Place, Reached

CONSTANTS = (bool, int, float, complex, str, bytes)
COMPARED = 1 << 20  # elements of arrays that are compared before each call


class Lock:
    """A lock that its thread may take again. In a process that was forked, no other thread has it.

    >>> from adjoint.compiler.tracing import Lock
    >>> lock = Lock()
    >>> with lock, lock:
    ...     print(lock.depth)
    2
    """

    def __init__(self) -> None:
        self.inner, self.owner, self.depth = RLock(), 0, 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def __enter__(self) -> None:
        self.inner.acquire()
        self.owner, self.depth = get_ident(), self.depth + 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1
        self.owner = self.owner if self.depth else 0
        self.inner.release()

    def renew(self) -> None:
        """Forget who held it, unless it is the thread that forked."""
        self.depth = self.depth if self.owner == get_ident() else 0
        self.inner = RLock()
        for _ in range(self.depth):
            self.inner.acquire()


LOCK = Lock()  # one tracing at a time


class Source(NamedTuple):
    """Where an input of a compiled function comes from at each call.

    ``what`` is "argument" (its number), "value" or "grad" of a tensor, "place", "array" (the object
    itself) or "box" (a value of an outer transformation).
    """

    what: str
    owner: Any


class Held(NamedTuple):
    """What a tensor held before tracing, and the Node that it began with."""

    tensor: Tensor
    value: Any
    node: Any
    grad: Any
    kept: Any  # what its leaf kept for rules
    start: Any


class Put(NamedTuple):
    """A place, what stood there, and the Symbol that stands there while tracing."""

    place: Place
    before: Any
    symbol: Symbol
    start: Node


class Capture(Trace):
    """One tracing, and everything that it has put Symbols into."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = ScalarGraph()
        self.graph.tensors = True  # those there are can be changed
        self.sources: dict[Node, Source] = {}
        self.held: dict[int, Held] = {}
        self.own: dict[int, Tensor] = {}  # tensors whose shadow belongs to this tracing
        self.gradients: set[int] = set()  # tensors that are the .grad of another
        self.arrays: dict[int, tuple[Any, Symbol]] = {}
        self.numbers: dict[Node, Any] = {}  # numbers and arrays that became inputs
        self.relied: dict[Node, Any] = {}  # those that Python code has looked at
        self.placed: list[Put] = []
        self.fixed: list[tuple[Place, Any]] = []  # numbers and arrays that are guards
        self.iterators: list[tuple[Place, Any]] = []
        self.noted: set[str] = set()  # settings of the library that were read
        self.born: dict[int, Any] = {}  # tensors made while tracing: constants
        self.foreign: list[Tensor] = []  # results of operations recorded outside

    # ---- Symbols in place of values

    def input(self, known: Any) -> Symbol:
        """A new input of the Graph."""
        return symbol(self.graph, super().input(known).node, Traced)

    def stand_in(self, n: Node, value: Any) -> Symbol:
        """A Symbol for a value that is no tensor, as that behaves."""
        self.met_inner(value)
        if not n.aval.shape and is_changeable(value):
            self.graph.arrays.add(n)
        return symbol(self.graph, n, Number if type(value) in NUMBERS or isinstance(
            value, Number) else Traced)

    def enter(self, known: Any, what: str, owner: Any) -> Symbol:
        """A new input that comes from somewhere else than the arguments."""
        s = self.input(known)
        self.sources[s.node] = Source(what, owner)
        return s

    def close(self, x: Box) -> Symbol:
        """The Symbol of a value of an outer transformation."""
        s = super().close(x)
        self.met_inner(x)
        self.sources[s.node] = Source("box", x)
        return s

    def met_inner(self, x: Any) -> None:
        """Note a value of a function of tensors, which makes this one a function of tensors too."""
        self.graph.inner = self.graph.inner or (isinstance(x, Box) and of_tensors(x))

    def adopt(self, t: Tensor, of: Tensor | None = None) -> Tensor:
        """Let a tensor hold a Symbol, and its gradient too; ``of`` is the one whose .grad it is."""
        if id(t) in self.held:
            return t
        if id(t) in self.born:
            t.value = symbol(self.graph, constant(t.value), Traced)
            return t
        n, grad, value, start = t.node, t.grad, t.value, None
        if not shadows.adopted(t):
            self.own[id(t)] = t
            shadows.adopt(t)
        if not isinstance(value, Box):
            t.value = self.enter(t.aval, *(("value", t) if of is None else ("grad", of)))
            start = t.value.node
        self.held[id(t)] = Held(t, value, n, grad, None if n is None else n.value, start)
        if n is not None and start is not None:
            t.node = leaf(t.value, n.owner if isinstance(n, Leaf) else None)
            if isinstance(n, Leaf):
                t.node.hooks = n.hooks
            else:
                self.foreign.append(t)
        if grad is not None:
            self.gradients.add(id(grad))
            self.adopt(grad, t)
        return t

    def adopt_first(self, t: Tensor) -> None:
        """Adopt a tensor that is about to be written to, if it comes from outside."""
        if t.level == 0 and not isinstance(t.value, Box):
            self.adopt(t)

    def bear(self, t: Tensor) -> None:
        """Note a tensor that the function has made."""
        self.born[id(t)] = t

    def prepare(self, found: Reached, fixed: bool) -> None:
        """Put Symbols into everything that was reached; into tensors alone with ``fixed``."""
        for t in found.tensors.values():
            if t.level == 0:  # others belong to an outer transformation, and are closed over
                self.adopt(t)
        for place in found.iterators:
            self.iterators.append((place, place.get()))
            place.put(Once(place.get()))
        if fixed:
            self.fixed = [(p, p.get().copy() if isinstance(p.get(), np.ndarray) else p.get())
                          for p in (*found.numbers, *found.arrays)]
            return
        for place in found.numbers:
            value = place.get()
            s = self.enter(aval_of(value), "place", place)
            self.numbers[s.node] = value
            self.put(place, value, s)
        for place in found.arrays:
            value = place.get()
            s = self.array(value, "place", place)
            self.numbers[s.node] = value
            self.put(place, value, s)
        for a in found.stuck.values():
            self.array(a, "array", a)

    def array(self, a: Any, what: str, owner: Any) -> Symbol:
        """The Symbol of an array, the same one wherever it stands."""
        if id(a) not in self.arrays:
            self.arrays[id(a)] = a, self.enter(aval_of(a), what, owner)
        return self.arrays[id(a)][1]

    def put(self, place: Place, before: Any, s: Symbol) -> None:
        """Put a Symbol of its own into a place: an operation in place changes it alone."""
        mine = self.stand_in(s.node, before)
        self.placed.append(Put(place, before, mine, s.node))
        place.put(mine)

    def restore(self) -> None:
        """Give everything back what it held."""
        for t in self.own.values():
            shadows.release(t)
        for t, value, n, grad, kept, _ in self.held.values():
            if id(t) in self.own:
                continue
            t.value, t.aval, t.node = value, aval_of(value), n
            t._gradient = grad
            if n is not None:
                n.value = kept
        for put in reversed(self.placed):
            if not put.place.inner:  # tuples are given back whole
                put.place.put(put.before)
        for place, iterator in self.iterators:
            place.put(iterator)

    # ---- what operations of the body meet

    def barrier(self, args: Sequence[Any]) -> list[Any]:
        """``args`` with what comes from outside replaced by inputs."""
        graph = self.graph
        return [a if a.__class__ is Traced and a.graph is graph else self.met(a) for a in args]

    def met(self, a: Any) -> Any:
        """One argument of an operation, or a result."""
        if isinstance(a, Box):
            if self.owns(a):
                return a
            if isinstance(a, Tensor) and a.level == 0 and not isinstance(a.value, Box):
                return self.adopt(a)
            return self.close(a)
        if a.__class__ is np.ndarray and id(a) in self.arrays:
            return self.arrays[id(a)][1]
        return a

    def settled(self, n: Node) -> Any:
        """The value of a Node that follows from numbers alone, which are guards from then on."""
        known: dict[Node, Any] = {}
        waiting = [n]
        while waiting:
            m = waiting[-1]
            if m in known:
                waiting.pop()
            elif m in self.numbers:
                value = self.numbers[m]
                if m not in self.relied:
                    self.relied[m] = value.copy() if isinstance(value, np.ndarray) else value
                known[m] = self.relied[m]
            elif not m.inputs:
                if m.value is None:
                    raise unsettled(n)
                known[m] = m.value
            elif missing := [i for i in m.inputs if i not in known]:
                waiting += missing
            else:
                known[m] = m.prim.impl(*[known[i] for i in m.inputs], **m.params)
        return known[n]


def unsettled(n: Node) -> EscapeError:
    """The error for Python code that looks at a value that does not exist yet."""
    return EscapeError(
        f"this value ({n.aval}) does not exist yet: the function is being traced by ad.jit, so "
        "Python cannot branch on it, convert it or print it. Use ad.where(condition, x, y) to "
        "choose by element, or ad.cond for a choice of branches, and return a value to print it; "
        "an argument that is a setting rather than data is named in static_argnums.")


# ---- what the function changed

class Frozen:
    """What a tensor held when tracing ended, and whether it was tracked. A leaf of pytrees.

    ``itself`` is the tensor where it is assigned, ``owner`` too if it was reached, ``variable``
    whether it is a leaf that requires a gradient.
    """

    __slots__ = ("itself", "owner", "tracked", "value", "variable")

    def __init__(self, value: Any, tracked: bool) -> None:
        self.value, self.tracked = value, tracked
        self.itself: Any = None
        self.owner: Any = None
        self.variable = False


class Change(NamedTuple):
    """Something that the function assigned to, and what it holds afterwards.

    ``what`` is "value", "grad" or "requires_grad" of a tensor (``owner``), "item" of a place or a
    container (``owner[key]``), "list" (all of it), or "removed".
    """

    what: str
    owner: Any
    key: Any
    after: Any


class Tracing(NamedTuple):
    """What came of tracing a function; results and changes are trees of Symbols and `Frozen`."""

    capture: Capture
    found: Reached
    result: Any
    changes: list[Change]


def trace(f: Callable[..., Any], arguments: Callable[[Capture], tuple[Any, Any]]) -> Tracing:
    """Run ``f`` on Symbols; ``arguments`` makes them: positional ones, and a dict of named ones.

    Numbers and arrays that are reached are inputs. Where that cannot be (``np.quantile(x, q)`` says
    by q which elements are read) they are compared before each call instead. Raises what ``f``
    raises then, with every tensor and container as it was before.
    """
    try:
        tracing = traced(f, arguments, fixed=False)
    except Exception:  # code that knows numbers only does not say so by one class of errors
        found = reach(f)
        size = sum(np.size(p.get()) for p in found.arrays)
        if not (found.numbers or found.arrays) or size > COMPARED:
            raise
    else:
        if any(name in sys.modules for name in tracing.found.modules):
            return trace(f, arguments)  # what the function has imported is reached now
        return tracing
    return traced(f, arguments, fixed=True)


def traced(f: Callable[..., Any], arguments: Callable[[Capture], tuple[Any, Any]],
           fixed: bool) -> Tracing:
    """One attempt at `trace`."""
    with LOCK:
        capture, found = Capture(), reach(f)
        states = drawn(found)
        original = [(c, content(c)) for c in found.containers]
        loose = [(p, p.now()) for p in found.loose()]
        active.append(capture)
        try:
            with shadows.Tracing():
                capture.prepare(found, fixed)
                shown = [(c, content(c)) for c in found.containers]
                stood = [(p, p.now()) for p, _ in loose]
                args, kwargs = arguments(capture)
                with Mode(lambda m: m._replace(trace=capture, site=m.site or site)):
                    result = frozen(f(*args, **kwargs), capture.met)
                changes = [c._replace(after=assigned(c, capture, found))
                           for c in changed(capture, found, shown, stood)]
        finally:
            for container, before in original:
                revert(container, before)
            capture.restore()
            for place, value in loose:
                if place.now() is not value:
                    place.put(value)
            active.remove(capture)
    if drawn(found) != states:
        raise GraphError("ad.jit: the function drew random numbers of NumPy or Python while it was "
                         "traced, so every call would see the same ones. Draw them with ad.random, "
                         "whose state is an input, or outside, and pass them as an argument")
    return Tracing(capture, found, result, changes)


def revert(container: Any, before: Any) -> None:
    """Give a container back its content, if that has changed."""
    now = content(container)
    if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)) or (
            isinstance(now, dict) and any(now[k] is not v for k, v in before.items())):
        refill(container, before)


def frozen(tree: Any, met: Callable[[Any], Any] = lambda x: x) -> Any:
    """A tree with its tensors replaced by what they hold now, which `restore` will undo.

    ``met`` says what a value is here that may belong to a transformation around the call.
    """
    leaves, structure = flatten(tree)
    held = [Frozen(met(x.value), x.node is not None) if isinstance(x, Tensor) and x.level == 0 else
            met(x) for x in leaves]
    return unflatten(structure, [
        symbol(x.graph, x.node, type(x)) if isinstance(x, Symbol) else x for x in held])


def assigned(c: Change, capture: Capture, found: Reached) -> Any:
    """What is assigned, frozen: a tensor that was reached is itself, as are no gradients."""
    after = frozen(c.after)
    if c.what in {"item", "list"}:
        for x, y in zip(flatten(c.after)[0], flatten(after)[0], strict=True):
            if isinstance(x, Tensor) and isinstance(y, Frozen):
                y.itself = x
                y.owner = x if id(x) in found.tensors and id(x) not in capture.gradients else None
                y.variable = isinstance(x.node, Leaf)
                if y.variable and y.owner is None and x.grad is not None:
                    raise GraphError(
                        f"ad.jit: the function makes a tensor of shape {x.shape} that requires a "
                        "gradient, keeps it, and calls backward(): its gradient would be lost. "
                        "Make the tensor before, outside of the compiled function")
    return after


def changed(capture: Capture, found: Reached, shown: Sequence[tuple[Any, Any]],
            stood: Sequence[tuple[Place, Any]]) -> list[Change]:
    """Everything that holds something else than when the function began."""
    starts = {id(p.symbol): p.start for p in capture.placed}

    def same(a: Any, b: Any) -> bool:
        if a is not b:
            return False
        leaves = flatten(a)[0] if isinstance(a, tuple) else [a]
        return all(starts.get(id(x), getattr(x, "node", None)) is getattr(x, "node", None)
                   for x in leaves if isinstance(x, Symbol))
    changes = changed_tensors(capture)
    for container, before in shown:
        if not isinstance(container, dict):
            if len(container) != len(before) or not all(map(same, container, before)):
                changes.append(Change("list", container, None, list(container)))
            continue
        told = [k for k in {**before, **container} if not found.is_quiet(container, k)]
        changes += [Change("item", container, k, container[k]) for k in told if k in container and (
            k not in before or not same(container[k], before[k]))]
        changes += [Change("removed", container, k, None) for k in told if k not in container]
    changes += [Change("item", place.holder, place.key, now) for place, before in stood
                if not (same(now := place.now(), before) or alike(now, before))]
    changes += [Change("item", place.holder, place.key, value)
                for place, value, before in found.contents if snapshot(value) != before]
    return changes


def alike(a: Any, b: Any) -> bool:
    """Whether a value was assigned where an equal one stood, that of which there is but one."""
    return type(a) is type(b) and isinstance(a, CONSTANTS) and a == b and tells(a)


def changed_tensors(capture: Capture) -> list[Change]:
    """The tensors that hold another value or another gradient than at the start."""
    changes: list[Change] = []
    for t, value, n, grad, _, start in [*capture.held.values()]:
        after = t.grad
        if after is not grad or (after is not None and not unmoved(
                after, capture.held[id(after)].start)):
            changes.append(Change("grad", t, None, after))
        if id(t) in capture.gradients:
            continue
        if (t.node is None) is not (n is None):
            changes.append(Change("requires_grad", t, t.requires_grad, ()))
        if start is None:
            if t.value is not value:
                raise GraphError("ad.jit: the function assigns to a tensor of an outer "
                                 f"transformation ({t.aval}); return the new value instead")
        elif not unmoved(t, start):
            changes.append(Change("value", t, None, Frozen(t.value, tracked=False)))
    return changes


def unmoved(t: Tensor, start: Node | None) -> bool:
    """Whether a tensor still holds the Symbol that it was given."""
    return isinstance(t.value, Symbol) and t.value.node is start


def check_after(c: Change, found: Reached) -> None:
    """An error for something that no compiled function can assign: it is not made of tensors.

    A flag may be: what it was is compared before each call.
    """
    for x in flatten(c.after)[0]:
        if not isinstance(x, (Frozen, Symbol, np.ndarray, np.floating, float, bool)):
            name = c.key.name if isinstance(c.key, Attribute) else c.key
            where = assigned_where(name, found) if isinstance(name, str) else ""
            raise ArgumentError(
                f"ad.jit: the function assigns {x!r} ({type(x).__name__}) to {told(name)}{where}. "
                "It would happen once, when the function is traced, and never again. Assign "
                "tensors or arrays (a counter is ad.tensor(0.0)), or do it outside of the compiled "
                "function")


def told(key: Any) -> str:
    """A key as an error shows it."""
    return f"{key!r}" if isinstance(key, (str, int)) else f"an entry ({type(key).__name__})"


def assigned_where(name: str, found: Reached) -> str:
    """Where the code that was reached assigns to an attribute or variable of this name."""
    codes: list[Any] = [c for f in found.seen.values() if (c := getattr(f, "__code__", None))]
    for code in codes:
        for i in dis.get_instructions(code):
            if i.opname.startswith(("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF")) and (
                    i.argval == name):
                line = i.positions.lineno if i.positions else code.co_firstlineno
                return f" ({code.co_filename}:{line})"
    return ""
