"""A Plan: one traced version of a function, when it holds, and how a call of it goes.

What each call repeats - are the guards true, where are the inputs, where do the outputs go - is
written once as Python source (`Source text`), because walking a description would cost more than
many a compiled function.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import Leaf as LeafNode
from adjoint.core.node import Node, aval_of
from adjoint.core.symbol import Symbol
from adjoint.errors import GraphError, MutationError
from adjoint.hooks import handle
from adjoint.tensors import Tensor, untracked
from adjoint.transforms.trees import flatten, number, unflatten

from .guards import native_guards
from .jit_row import JitGraph, called, parts
from .places import UNREAD, Attribute, Called, Passing, refill, snapshot, tells
from .traced import Number
from .tracing import Frozen, check_after

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .places import Place
    from .tracing import Change, Source, Tracing


class Plan:
    """One version of a function: ``fits()`` says whether it holds, ``run`` and ``finish`` call it.

    ``kind`` gives a raw result the kind of the arguments (`trees.kind_of_all`).
    """

    def __init__(self, tracing: Tracing, arguments: Sequence[Node],
                 donors: Sequence[int] = ()) -> None:
        self.donors = donors  # leaves of the arguments that may be written over
        self.count = len(arguments)
        self.tracing, self.capture = tracing, tracing.capture
        for c in tracing.changes:
            check_after(c, tracing.found)
        self.outputs: list[Node] = []
        self.rebound = rebound(tracing)
        self.firsts: dict[int, Leaf] = {}  # where a tensor is assigned first
        self.results, self.structure = self.placed(tracing.result)
        self.stores = [(c, *self.placed(c.after)) for c in tracing.changes]
        check_effects(tracing)
        self.separate(arguments)
        # A function that changes nothing is an operation: what it gives is recorded outside.
        self.recorded = not tracing.changes and any(
            isinstance(x, Frozen) and x.tracked for x in flatten(tracing.result)[0])
        self.graph = JitGraph()
        self.graph.outputs = self.outputs
        self.graph.nodes = pruned(self.capture.graph.nodes, self.outputs)
        used = {i for n in self.graph.nodes for i in n.inputs} | {*self.outputs}
        self.sources = [(n, s) for n, s in self.capture.sources.items() if n in used]
        # Also those that are not used: that they are of these shapes and dtypes is asked with them.
        self.graph.inputs = [*arguments, *[n for n, _ in self.sources]]
        self.unused = {k for k, n in enumerate(arguments) if n not in used}
        self.graph.cached["into"] = self.overwritten()
        self.noted = self.capture.noted
        self.calls = 0
        self.text = text = Text(self.rebound)
        self.fits: Callable[[], bool] = text.check(tracing)
        self.fetch: Callable[[], tuple[Any, ...]] = text.fetch(self.sources, self.recorded)
        self.native_guards = native_guards(tracing, self.rebound, used)
        self.finishers = [finisher(c, leaves, s) for c, leaves, s in self.stores]
        self.gives_state = any(not x.tensor for c, leaves, _ in self.stores for x in leaves
                               if c.what not in {"value", "grad"})
        del self.tracing, self.capture, self.firsts

    # ---- what comes out

    def placed(self, tree: Any) -> tuple[list[Any], Any]:
        """The leaves of a tree, each as a function of the outputs, and its structure."""
        leaves, structure = flatten(tree)
        return [self.leaf(x) for x in leaves], structure

    def leaf(self, x: Any) -> Leaf:
        """What a leaf becomes at each call."""
        if not isinstance(x, Frozen):
            return self.made(x, tensor=False, tracked=False)
        if x.owner is not None and id(x.owner) not in self.rebound:
            return Leaf(-1, x.owner, tensor=False, tracked=False)
        leaf = self.made(x.value, tensor=True, tracked=x.tracked)
        if x.itself is not None:
            leaf.variable = x.variable
            first = self.firsts.setdefault(id(x.itself), leaf)
            if first is not leaf:
                first.shared = leaf.first = first.shared or [None]
        return leaf

    def made(self, value: Any, tensor: bool, tracked: bool) -> Leaf:
        """A leaf that is an output or a constant."""
        if isinstance(value, Symbol):
            leaf = Leaf(self.output(value.node), None, tensor, tensor and tracked)
            leaf.number = isinstance(value, Number)
            return leaf
        if isinstance(value, Box):
            raise GraphError("ad.jit: a value of an outer transformation is a result as it came "
                             "in; return something that is computed from it")
        return Leaf(-1, value, tensor, tracked=False)

    def separate(self, arguments: Sequence[Node]) -> None:
        """Let no two places hold the same memory, nor a result that of an input."""
        seen = {k for k, n in enumerate(self.outputs) if n in arguments or (
            n in self.capture.sources)}
        for x in [x for _, leaves, _ in self.stores for x in leaves] + self.results:
            x.copied = x.index in seen
            seen.add(x.index)

    def output(self, n: Node) -> int:
        """The number of an output."""
        if n not in self.outputs:
            self.outputs.append(n)
        return self.outputs.index(n)

    def overwritten(self) -> dict[int, int]:
        """The outputs that are the new values of tensors, and the inputs that are the old ones."""
        where = {id(s.owner): k for k, (_, s) in enumerate(self.sources, self.count)
                 if s.what == "value"}
        results = {x.index for x in self.results}
        found: dict[int, int] = {}
        for c, leaves, _ in self.stores:
            k = leaves[0].index if c.what == "value" and len(leaves) == 1 else -1
            place = where.get(id(c.owner))
            if k < 0 or k in results or k in found or place is None:
                continue
            if self.graph.inputs[place].aval is self.outputs[k].aval:
                found[k] = place
        self.donated = self.given_away({x.index for _, leaves, _ in self.stores for x in leaves})
        return found | self.donated

    def given_away(self, stored: set[int]) -> dict[int, int]:
        """The results that may be written over donated arguments, and which inputs these are."""
        free = [k for k in range(self.count) if k in self.donors]
        indices = [x.index for x in self.results]
        found: dict[int, int] = {}
        for x in self.results:
            if x.index < 0 or x.index in stored or x.copied or indices.count(x.index) > 1:
                continue
            known = self.outputs[x.index].aval
            fitting = [p for p in free if self.graph.inputs[p].aval is known and known.shape]
            if fitting:
                found[x.index] = fitting[0]
                free.remove(fitting[0])
        return found

    # ---- a call

    def expression(self, s: Source, names: dict[str, Any]) -> str:
        """The Python expression that reads an input, with what it names added to ``names``."""
        text = self.text.source(s)
        names |= self.text.names
        return text

    def values(self, given: Sequence[Any]) -> list[Any]:
        """The inputs of a call, from the leaves of the arguments and from where else they stand."""
        values = given if self.recorded else [untracked_value(x) for x in given]
        return [*values, *self.fetch()]

    def run(self, values: Sequence[Any]) -> list[Any]:
        """The outputs for these inputs; nothing is assigned yet."""
        if any(isinstance(x, Box) for x in values):
            inputs = self.graph.inputs
            values = [nothing(inputs[k].aval) if k in self.unused else x
                      for k, x in enumerate(values)]
            return parts(self.graph, called(self.graph, values))
        return self.graph.executable(*values) if self.outputs else []

    def finish(self, outs: Sequence[Any], kind: Callable[[Any], Any]) -> Any:
        """Assign what the function assigns, and give the result."""
        for finish in self.finishers:
            finish(outs)
        return unflatten(self.structure, [x.result(outs, kind) for x in self.results])


    def like(self, result: Any, kind: Callable[[Any], Any]) -> Any:
        """A result that was computed of tensors, as it would be if they had been arrays."""
        leaves, structure = flatten(result)
        return unflatten(structure, [y if x.tensor or not isinstance(y, Box) else kind(y)
                                     for x, y in zip(self.results, leaves, strict=True)])


def nothing(known: Any) -> Any:
    """What nobody reads, instead of an argument that nothing depends on."""
    zero = np.zeros((), known.dtype)
    return zero.item() if known.weak else np.broadcast_to(zero, known.shape)


def untracked_value(x: Any) -> Any:
    """The array of a Tensor: a step that changes things is not itself recorded."""
    return x.value if isinstance(x, Tensor) and x.level == 0 else x


class Leaf:
    """One leaf of a result: an output or a constant, a tensor or in the arguments' kind."""

    __slots__ = ("constant", "copied", "first", "index", "number", "shared", "tensor", "tracked",
                 "variable")

    def __init__(self, index: int, constant: Any, tensor: bool, tracked: bool) -> None:
        self.index, self.tensor, self.tracked = index, tensor, tracked
        self.constant, self.copied, self.number = constant, False, False
        self.variable = False
        self.shared: Any = None  # the tensor, for other leaves that are the same one
        self.first: Any = None  # what the first of those has shared

    def result(self, outs: Sequence[Any], kind: Callable[[Any], Any]) -> Any:
        """The leaf of a result."""
        if self.index < 0 and not self.tensor:
            return self.constant
        value = self.value(outs)
        if self.tensor:
            if isinstance(value, Tensor) and value.level == 0 and not self.tracked:
                value = value.value
            # What a transformation around the call works with is itself what an operation gives.
            return value if isinstance(value, Box) and not isinstance(value, Symbol) else (
                untracked(value))
        value = value.value if isinstance(value, Tensor) and value.level == 0 else value
        return (number if self.number else kind)(value)

    def value(self, outs: Sequence[Any]) -> Any:
        """The array, on memory of its own."""
        if self.index >= 0:
            y = outs[self.index]
            if self.copied and isinstance(y, Box):
                return handle(y)
            return y.copy() if self.copied and isinstance(y, np.ndarray) else y
        return self.constant.copy() if isinstance(self.constant, np.ndarray) else self.constant

    def stored(self, outs: Sequence[Any], before: Any) -> Any:
        """What is written to a place of the user's: a number where a number stood."""
        if self.first is not None:
            return self.first[0]
        value = self.value(outs)
        if self.tensor:
            y = untracked(value).requires_grad_(self.variable)
            if self.shared is not None:
                self.shared[0] = y
            return y
        if isinstance(self.constant, Tensor):
            return self.constant
        number = type(before) is float or (self.number and not isinstance(value, Box))
        return np.asarray(value).item() if number else value


def pruned(nodes: Sequence[Node], outputs: Sequence[Node]) -> list[Node]:
    """The Nodes that the outputs need, or that have effects."""
    live, kept = {*outputs}, list[Node]()
    for n in reversed(nodes):
        if n in live or n.prim.effects in {"write", "callback"}:
            kept.append(n)
            live.update(n.inputs)
    return kept[::-1]


def check_effects(tracing: Tracing) -> None:
    """Errors for what a compiled step cannot do."""
    if any(c.what == "grad" for c in tracing.changes) and (foreign := [
            t for t in tracing.capture.foreign if any(
                s.owner is t for s in tracing.capture.sources.values())]):
        raise GraphError("ad.jit: backward() inside the compiled function would have to go on into "
                         f"a graph recorded outside, behind a tensor of shape {foreign[0].shape}. "
                         "Pass that tensor in as an argument after .detach(), or compute it inside")
    arrays = [h.value for h in tracing.capture.held.values() if isinstance(h.value, np.ndarray)]
    views = [a for a in arrays if a.base is not None]
    changes = any(c.what == "value" for c in tracing.changes)
    for a in views if changes else ():
        if any(b is not a and np.may_share_memory(a, b) for b in arrays):
            raise MutationError(f"ad.jit: two tensors that the function reaches share memory (one "
                                f"has shape {a.shape}), and it assigns to tensors; make one of "
                                "them a copy: x.clone()")


def rebound(tracing: Tracing) -> dict[int, Place]:
    """Tensors that stand at a place to which the function assigns another: inputs by that place.

    A tensor that stands at another place too stays an input by itself.
    """
    assigned = {(id(c.owner), c.key) for c in tracing.changes if c.what == "item"}
    places: dict[int, list[Place]] = {}
    for place, value in tracing.found.same:
        if isinstance(value, Tensor):
            places.setdefault(id(value), []).append(place)
    return {t: p[0] for t, p in places.items()
            if len(p) == 1 and (id(p[0].holder), p[0].key) in assigned}


# ---- what is assigned

def finisher(c: Change, leaves: Sequence[Leaf], structure: Any) -> Callable[[Sequence[Any]], None]:
    """The function that writes one change, given the outputs."""
    owner, key = c.owner, c.key
    if c.what == "value":
        (leaf,) = leaves
        return lambda outs: owner.replace(leaf.value(outs))
    if c.what == "grad":
        return grad_finisher(owner, leaves)
    if c.what == "removed":
        return lambda outs: owner.pop(key, None)
    if c.what == "requires_grad":
        return lambda outs: setattr(owner, "requires_grad", key)
    before = None if c.what == "list" else standing(owner, key)

    def whole(outs: Sequence[Any]) -> Any:
        return unflatten(structure, [x.stored(outs, before) for x in leaves])
    if c.what == "list":
        return lambda outs: refill(owner, whole(outs))
    if isinstance(key, Attribute):
        return lambda outs: setattr(owner, key.name, whole(outs))
    return lambda outs: owner.__setitem__(key, whole(outs))


def standing(owner: Any, key: Any) -> Any:
    """What stands at a place before the first call."""
    if isinstance(key, Attribute):
        return getattr(owner, key.name, None)
    return owner.get(key) if isinstance(owner, dict) else owner[key]


def grad_finisher(owner: Any, leaves: Sequence[Leaf]) -> Callable[[Sequence[Any]], None]:
    """Write a gradient; no leaf stands for None."""
    if not leaves:
        return lambda outs: setattr(owner, "_gradient", None)
    (leaf,) = leaves
    return lambda outs: setattr(owner, "_gradient", untracked(leaf.value(outs)))


# ---- Python source

class Text:
    """Source of two functions, and the objects that it names."""

    def __init__(self, rebound: dict[int, Place]) -> None:
        self.names: dict[str, Any] = {}
        self.numbers: dict[int, str] = {}
        self.rebound = rebound

    def name(self, value: Any) -> str:
        """The name of an object in the text."""
        if id(value) not in self.numbers:
            self.numbers[id(value)] = f"o{len(self.names)}"
            self.names[self.numbers[id(value)]] = value
        return self.numbers[id(value)]

    def place(self, p: Place) -> str:
        """The expression that reads a place."""
        inner = "".join(f"[{i}]" for i in p.inner)
        if isinstance(p.key, Attribute):
            return f"{self.name(p.holder)}.{p.key.name}{inner}"
        if isinstance(p.key, Called):
            return f"{self.name(p.holder)}.{p.key.method}(){inner}"
        return f"{self.name(p.holder)}[{self.key(p.key)}]{inner}"

    def key(self, key: Any) -> str:
        """The expression of a key."""
        return repr(key) if type(key) in (str, int) else self.name(key)

    def source(self, s: Source, recorded: bool = False) -> str:
        """The expression that reads an input."""
        if s.what in {"array", "box"}:
            return self.name(s.owner)
        if s.what == "place":
            return self.place(s.owner)
        if s.what == "grad":
            return f"{self.tensor(s.owner)}._gradient.value"
        tracked = recorded and s.owner.node is not None
        return self.tensor(s.owner) if tracked else f"{self.tensor(s.owner)}.value"

    def tensor(self, t: Any) -> str:
        """The expression of a tensor: the object, or what stands where it stood."""
        place = self.rebound.get(id(t))
        return self.name(t) if place is None else self.place(place)

    def made(self, name: str, body: str) -> Any:
        """The function of a text."""
        exec(compile(f"def {name}():\n{body}", f"<adjoint {name}>", "exec"), self.names)  # noqa: S102
        return self.names[name]

    def fetch(self, sources: Sequence[tuple[Node, Source]], recorded: bool) -> Any:
        """The function that gives the inputs."""
        items = "".join(f"{self.source(s, recorded)}, " for _, s in sources)
        return self.made("fetch", f"    return [{items}]")

    def reason(self) -> str:
        """The first guard that does not hold, as a text that names no numbers; empty if all do."""
        for test in self.tests:
            try:
                holds = eval(test, self.names)  # noqa: S307 - written here
            except UNREAD:
                holds = False
            if not holds:
                return self.told(test)
        return ""

    def check(self, tracing: Tracing) -> Any:
        """The function that says whether everything is as it was when the function was traced.

        Also of inputs that no operation reads: Python may have looked at their shape.
        """
        tests = [*self.guards(tracing), *self.held(tracing)]
        for n, s in tracing.capture.sources.items():
            if s.what == "place":
                tests.append(self.fitting(self.place(s.owner), s.owner.get(), n))
            elif s.what == "array":
                tests.append(self.fitting(self.name(s.owner), s.owner, n))
        self.tests = dict.fromkeys(tests)
        lines = [f"        if not ({t}): return False" for t in self.tests]
        return self.made("fits", "\n".join([
            "    try:", *lines, "        return True",
            f"    except {self.name(UNREAD)}: return False"]))

    def told(self, test: str) -> str:
        """A test for a user: the name or key that it is about."""
        found = re.search(r"\[('[^']*'|\d+)\]|\.([a-z_]\w*) ", test)
        return (found[1] or found[2]).strip("'") if found else test

    def guards(self, tracing: Tracing) -> list[str]:
        """Tests of what is no input."""
        found, tests = tracing.found, list[str]()
        for place, value in found.same:
            if not is_temporary(place) and self.rebound.get(id(value)) != place:
                tests.append(f"{self.place(place)} is {self.name(value)}")
        for place, value in found.equal:
            if not is_temporary(place):
                tests.append(self.equal(self.place(place), value))
        for place, n in found.lengths:
            if not is_temporary(place):
                tests.append(f"{self.place(place)}.__class__ is {self.name(type(place.get()))} and "
                             f"len({self.place(place)}) == {n}")
        for place, value, held in found.contents:
            text = self.name(value) if is_temporary(place) else self.place(place)
            tests.append(f"{self.name(snapshot)}({text}) == {self.name(held)}")
        tests += [f"{self.name(p)}.is_missing()" for p in found.missing if not is_temporary(p)]
        tests += [f"{self.name(x)}.__class__ is {self.name(c)}" for x, c in found.classes]
        tests += [f"len({self.name(d)}) == {n}" for d, n in found.sizes]
        tests += [f"len({self.name(c)}) == {len(c)}" for c in found.containers]
        tests += [f"(*{self.name(c)},) == {self.name(keys)}" for c, keys in found.orders]
        for p in tracing.capture.placed:
            value = tracing.capture.relied.get(p.start)
            if value is not None:
                tests.append(self.equal(self.place(p.place), value))
        tests += [self.equal(self.place(p), value) for p, value in tracing.capture.fixed]
        first: dict[int, str] = {}
        for place in found.arrays:  # places of one array stay so
            text = self.place(place)
            if id(place.get()) in first:
                tests.append(f"{text} is {first[id(place.get())]}")
            first.setdefault(id(place.get()), text)
        return tests

    def equal(self, text: str, value: Any) -> str:
        """A test of equality, types included."""
        if isinstance(value, np.ndarray):
            return (f"{text}.shape == {value.shape!r} and {text}.dtype is {self.name(value.dtype)} "
                    f"and {text}.tobytes() == {self.name(value.tobytes())}")
        if value is None or value is True or value is False or value is Ellipsis:
            return f"{text} is {self.name(value)}"
        kind = f"{text}.__class__ is {self.name(type(value))}"
        if not tells(value):
            return f"{kind} and repr({text}) == {repr(value)!r}"
        return f"{kind} and {text} == {self.name(value)}"

    def held(self, tracing: Tracing) -> list[str]:
        """Tests of the tensors: what is known of them, whether gradients are wanted and there."""
        tests: list[str] = []
        grads = tracing.capture.gradients
        for t, value, n, grad, _, _ in tracing.capture.held.values():
            if id(t) in grads:
                continue
            if isinstance(value, Box):  # of a tracing outside, where this version may fit again
                tests.append(f"{self.tensor(t)}.aval is {self.name(aval_of(value))}")
                continue
            name, known = self.tensor(t), self.name(aval_of(value))
            leaf = "is None" if n is None else "is not None"
            if id(t) in self.rebound:
                tests.append(f"{name}.__class__ is {self.name(type(t))}")
            tests.append(f"{name}.aval is {known} and {name}.node {leaf}")
            if isinstance(n, LeafNode):  # hooks have numbers, each its own
                tests.append(f"(*{name}.node.hooks,) == {(*n.hooks,)}")
            if n is not None:
                if grad is None:
                    t._gradient = None  # an unset slot would be an error, which is slow
                there = "is None" if grad is None else (
                    f"is not None and {name}._gradient.aval is {self.name(grad.aval)}")
                tests.append(f"{name}._gradient {there}")
        return tests

    def fitting(self, text: str, value: Any, n: Node) -> str:
        """A test that an array or number has the type, shape and dtype that it had."""
        kind = f"{text}.__class__ is {self.name(type(value))}"
        if not isinstance(value, np.ndarray):
            return kind
        return (f"{kind} and {text}.shape == {value.shape!r} and "
                f"{text}.dtype is {self.name(value.dtype)}")


def is_temporary(place: Place) -> bool:
    """Whether a place was made for the walk: nobody can change what stands there."""
    return isinstance(place.holder, Passing)
