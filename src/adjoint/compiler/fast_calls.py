"""The quick way of calling one version of a function: what `Jitted` does in general, written out.

`fast_call` makes it, for usual arguments and no open modes. Where machine code can ask and do
everything it is a builtin function (`call.entry`); else it is Python source made for this version,
around such a builtin. Whatever does not fit goes the general way, to ``slow``.
"""

from __future__ import annotations

from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from adjoint.core.box import Box
from adjoint.core.node import Leaf as LeafNode
from adjoint.core.node import Switch, aval, aval_of, switch
from adjoint.modes import DEFAULT_DTYPE
from adjoint.tensors import Tensor, untracked
from adjoint.transforms.trees import unflatten

from . import call
from .donation import apart, donate
from .reachable import Attribute, Passing
from .sources import (
    FLOAT,
    SCALAR,
    STATE,
    Argument,
    Cell,
    Constant,
    Context,
    Element,
    Guard,
    Held,
    Input,
    Item,
    New,
    Output,
    Slot,
    into,
)
from .sources import Attribute as Named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .plans import Plan
    from .reachable import Place
    from .tracing import Source as From
    from .tracing import Tracing

ARMED = (Slot(Held(switch), Switch, "armed"), 0)
MISS = object()
ANYBODY = 2**32 - 1  # references to an array that was given away, whoever holds it
OWN = 1  # references to an array that only its Tensor, or its dict, holds


def missed(*_: Any, **__: Any) -> Any:
    """What a builtin answers where its arguments do not fit."""
    return MISS


def fast_call(plan: Plan, args: Sequence[Any], numbers: bool,
              slow: Callable[..., Any]) -> Callable[..., Any] | None:
    """The quick way of a Plan; None where there is none.

    ``numbers`` says that all arguments are Python numbers, so results without axes are too.
    """
    compiled = plan.graph.executable.compiled
    if compiled is None or plan.recorded or call.why_not(compiled):
        return None
    writing = Writing(plan, numbers)
    if not writing.arguments(args) or not writing.inputs():
        return None
    writing.outputs()
    return writing.made(slow)


class Writing:
    """The quick way of one Plan, being written."""

    def __init__(self, plan: Plan, numbers: bool) -> None:
        self.plan, self.numbers = plan, numbers
        self.names: dict[str, Any] = {
            "switch": switch, "MISS": MISS, "untracked": untracked, "Tensor": Tensor,
            "DEFAULT_DTYPE": DEFAULT_DTYPE, "dtype": DEFAULT_DTYPE.get(), "unflatten": unflatten,
            "fits": plan.fits, "float64": np.float64}
        self.lines: list[str] = []
        # Of the leaves of the arguments: expressions, where machine code finds them, and values.
        self.leaves: list[tuple[str, Any, Any]] = []
        self.tensors: dict[int, str] = {}  # which leaves are tensors, and their names
        self.plain = True  # whether machine code finds every leaf itself
        self.native: list[Any] = []  # its guards of the arguments
        self.builtin: list[Input] = []
        self.passed: list[str] = []  # what is given to the builtin
        self.found: list[Any] = []  # where machine code finds that itself

    def name(self, value: Any) -> str:
        """A name for an object."""
        name = f"n{len(self.names)}"
        self.names[name] = value
        return name

    # ---- arguments

    def arguments(self, args: Sequence[Any]) -> bool:
        """Take the arguments apart; False where only optree can."""
        self.count = len(args)
        return all(self.taken(f"args[{k}]", Argument(k), a) for k, a in enumerate(args))

    def taken(self, expression: str, source: Any, value: Any) -> bool:
        """Take one argument apart; ``source`` is where machine code finds it, None if nowhere."""
        kind = value.__class__
        if kind is Tensor:
            if isinstance(value.value, Box):
                return False
            name = self.fresh(expression)
            self.demand(f"{name}.__class__ is Tensor and {name}.node is None and not {name}.level")
            self.native += [Guard(Slot(source, Tensor, "node"), None),
                            Guard(Slot(source, Tensor, "level"), 0)]
            self.tensors[len(self.leaves)] = name
            self.leaves.append((f"{name}.value", Slot(source, Tensor, "value"), value.value))
        elif kind in (np.ndarray, float, np.float64):
            if kind is not np.ndarray:
                expression = self.fresh(expression)
                self.demand(f"{expression}.__class__ is {kind.__name__}")
            self.leaves.append((expression, source, value))
        elif kind in (list, tuple, dict) and value:
            self.plain = self.plain and kind is not dict
            name = self.fresh(expression)
            self.demand(f"{name}.__class__ is {kind.__name__} and len({name}) == {len(value)}")
            keys = sorted(value) if kind is dict else range(len(value))
            if any(not isinstance(k, (str, int)) for k in keys):
                return False
            if kind is not dict:
                self.native.append(Guard(source, (kind, len(value)), "len"))
            read = f"{name}.get({{!r}}, MISS)" if kind is dict else f"{name}[{{!r}}]"
            return all(self.taken(read.format(k), source if kind is dict else Element(
                source, kind, k), value[k]) for k in keys)
        else:
            return False
        return True

    def fresh(self, expression: str) -> str:
        """A local name for an expression."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"    {name} = {expression}")
        return name

    def demand(self, test: str) -> None:
        """Go the general way unless a test holds."""
        self.lines.append(f"    if not ({test}): return slow(*args, **kwargs)")

    # ---- inputs of the program

    def inputs(self) -> bool:
        """Say where each input is found; False for something that machine code cannot read."""
        for expression, found, value in self.leaves:
            self.given(expression, found, "array" if isinstance(value, np.ndarray) else
                       "float" if type(value) is float else "scalar")
        self.positions: dict[tuple[str, int], int] = {}
        for n, s in self.plan.sources:
            source, known = source_of(s, self.plan.rebound), n.aval
            self.positions[s.what, id(s.owner)] = len(self.builtin)
            kind: Any = "array" if known.shape or is_array(s) else (
                "float" if known.weak else "scalar")
            if source is None:
                self.plain = False
                self.given(self.plan.expression(s, self.names), None, kind)
            else:
                self.builtin.append(Input(source, kind))
        return True

    def given(self, expression: str, found: Any, kind: Any) -> None:
        """An input that Python hands over, unless machine code finds all of them."""
        self.found.append(found)
        self.builtin.append(Input(Argument(len(self.passed)), kind))
        self.passed.append(expression)

    # ---- outputs

    def outputs(self) -> None:
        """Say what becomes of each output, and where the others find it."""
        plan = self.plan
        results = {x.index for x in plan.results if x.index >= 0}
        self.kinds: dict[int, Output] = {}
        self.leaf_guards = list[Any]()
        self.finishers = list[Any]()
        for finish, (c, leaves, _) in zip(plan.finishers, plan.stores, strict=True):
            place = self.place_of(c, leaves, results)
            if place is None:
                self.finishers.append(finish)
                for x in leaves:
                    if x.index >= 0:
                        shape = plan.outputs[x.index].aval.shape
                        self.kinds[x.index] = STATE if shape else SCALAR
            else:
                self.kinds[leaves[0].index] = into(place)
                self.builtin[place] = self.builtin[place]._replace(holders=self.holders(c))
        self.donate()
        for k, n in enumerate(plan.outputs):
            if k not in self.kinds:
                leaves = [x for x in plan.results if x.index == k]
                number = FLOAT if n.aval.dtype.kind == "f" and not any(
                    x.tensor for x in plan.results) and all(
                        self.numbers or x.number for x in leaves) else SCALAR
                self.kinds[k] = Output() if n.aval.shape else number
        self.order = [k for k in range(len(plan.outputs)) if self.kinds[k].kind != "into"]

    def donate(self) -> None:
        """Write results over the arguments that were given away, and return those."""
        self.returned: dict[int, str] = {}
        self.checked: list[str] = []
        for k, p in self.plan.donated.items():
            (leaf,) = [x for x in self.plan.results if x.index == k]
            expression, _, value = self.leaves[p]
            if isinstance(value, np.ndarray) and self.builtin[p].kind == "array" and (
                    leaf.tensor == (p in self.tensors)):
                self.kinds[k], self.returned[k] = into(p), expression
                self.builtin[p] = self.builtin[p]._replace(holders=ANYBODY)
        if not self.plan.donors:
            return
        self.plain = False
        given = [self.passed_as(p) for p in self.plan.donated.values()]
        others = [self.passed_as(p) for p in range(len(self.builtin))
                  if self.builtin[p].kind == "array" and p not in self.plan.donated.values()]
        self.names |= {"apart": apart, "donate": donate}
        if given:
            test = f"apart([{', '.join(given)}], [{', '.join(others)}])"
            self.checked = [f"    if not {test}: return slow(*args, **kwargs)"]

    def passed_as(self, p: int) -> str:
        """The expression of an input."""
        count = len(self.leaves)
        return self.leaves[p][0] if p < count else self.plan.expression(
            self.plan.sources[p - count][1], self.names)

    def holders(self, c: Any) -> int:
        """How many refer to an array that is written over: its place, and the node of a leaf.

        That node may be part of a graph that was recorded outside, so nobody else may have it.
        """
        node = getattr(c.owner, "node", None) if c.what == "value" else None
        if node is None or node.value is not c.owner.value:
            return OWN
        place = self.plan.rebound.get(id(c.owner))
        owner = Held(c.owner) if place is None else place_source(place)
        self.leaf_guards.append(Guard(Slot(owner, Tensor, "node"), OWN, "held"))
        return OWN + 1

    def place_of(self, c: Any, leaves: Sequence[Any], results: set[int]) -> int | None:
        """The input that an assigned output is written over; None if it becomes a new object."""
        if len(leaves) != 1 or leaves[0].index < 0 or leaves[0].index in results or (
                leaves[0].index in self.kinds):
            return None
        k = self.positions.get(("value", id(c.owner))) if c.what == "value" else next(
            (self.positions[s.what, id(s.owner)] for _, s in self.plan.sources
             if s.what == "place" and s.owner.holder is c.owner and s.owner.key == c.key
             and not s.owner.inner and not leaves[0].tensor), None) if c.what == "item" else None
        if k is None or self.builtin[k].kind != "array" or isinstance(
                self.builtin[k].source, Argument):
            return None
        there = self.plan.graph.inputs[k].aval
        return k if there is self.plan.outputs[leaves[0].index].aval else None

    # ---- the function

    def made(self, slow: Callable[..., Any]) -> Callable[..., Any] | None:
        """The builtin itself where it can do everything, else Python around it."""
        plan, compiled = self.plan, self.plan.graph.executable.compiled
        assert compiled is not None  # noqa: S101 - asked before
        outputs = [self.kinds[k] for k in range(len(plan.outputs))]
        noted = [(Context(DEFAULT_DTYPE), DEFAULT_DTYPE.get())] if plan.noted else []
        tree = self.tree() if self.plain else None
        if self.plain and plan.native_guards is not None and not self.finishers and (
                tree is not None):
            inputs = [i._replace(source=self.found[i.source.position])
                      if isinstance(i.source, Argument) else i for i in self.builtin]
            guards = [ARMED, *noted, *self.native, *plan.native_guards, *self.leaf_guards]
            found = call.entry(compiled, inputs, outputs, slow, arguments=self.count,
                               guards=guards, result=tree)
            return None if found is slow else found
        run = call.entry(compiled, self.builtin, outputs, missed, arguments=len(self.passed),
                         guards=[ARMED, *self.leaf_guards])
        if run is missed:
            return None
        self.names |= {"run": run, "slow": slow}
        return self.python()

    def tree(self) -> Any:
        """What the function gives, as machine code makes it; None if only Python can."""
        where = {k: p for p, k in enumerate(self.order)}
        leaves = [self.leaf(x, where) for x in self.plan.results]
        arrays = [x.index for x in self.plan.results
                  if x.index >= 0 and self.plan.outputs[x.index].aval.shape]
        if None in leaves or len({*arrays}) < len(arrays):  # each has memory of its own
            return None
        try:
            return shaped(optree.tree_unflatten(self.plan.structure, leaves))
        except TypeError:
            return None

    def leaf(self, x: Any, where: dict[int, int]) -> Leaf | None:
        """One leaf of the result."""
        if x.index < 0:
            return None if x.tensor else Leaf(Constant(x.constant))
        known = self.plan.outputs[x.index].aval
        if x.tensor:
            return Leaf(New(Tensor, (
                ("value", where[x.index]), ("aval", Constant(aval(known.shape, known.dtype))),
                ("level", Constant(0)), ("node", Constant(None)))))
        number = self.numbered(x) and self.kinds[x.index] != FLOAT
        return None if number else Leaf(where[x.index])

    def python(self) -> Callable[..., Any]:
        """Python source, compiled."""
        noted = " or DEFAULT_DTYPE.get() is not dtype" if self.plan.noted else ""
        lines = ["def call(*args, **kwargs):",
                 f"    if kwargs or len(args) != {self.count} or switch.armed{noted}:",
                 "        return slow(*args, **kwargs)",
                 *self.lines, "    if not fits(): return slow(*args, **kwargs)",
                 *self.checked,
                 f"    r = run({', '.join(self.passed)})",
                 "    if r is MISS: return slow(*args, **kwargs)"]
        single = len(self.order) == 1
        where = {k: "r" if single else f"r[{p}]" for p, k in enumerate(self.order)} | self.returned
        self.used = set[str]()  # arrays that have a place
        if self.finishers:
            self.used |= {*where.values()}
            outs = ", ".join(where.get(k, "None") for k in range(len(self.plan.outputs)))
            lines.append(f"    outs = [{outs}]")
            lines += [f"    {self.name(f)}(outs)" for f in self.finishers]
        leaves = [self.result(x, where) for x in self.plan.results]
        lines.append(f"    result = {self.rendered(leaves)}")
        lines += [f"    donate({self.tensors[k]})" for k in self.plan.donors if k in self.tensors]
        lines.append("    return result")
        exec(compile("\n".join(lines), "<adjoint call>", "exec"), self.names)  # noqa: S102
        return self.names["call"]

    def result(self, x: Any, where: dict[int, str]) -> str:
        """The expression of one leaf of the result."""
        if x.index < 0:
            value = self.name(x.constant)
            return f"untracked({value}.copy())" if x.tensor and isinstance(
                x.constant, np.ndarray) else f"untracked({value})" if x.tensor else value
        shape, found = self.plan.outputs[x.index].aval.shape, where[x.index]
        if x.copied and shape and found in self.used:
            found += ".copy()"
        self.used.add(found)
        if x.tensor:
            return f"untracked({found})"
        return f"{found}.item()" if self.numbered(x) and self.kinds[x.index] != FLOAT else found

    def numbered(self, x: Any) -> bool:
        """Whether a leaf of the result is a number of Python's."""
        return x.number or (self.numbers and not self.plan.outputs[x.index].aval.shape)

    def rendered(self, leaves: Sequence[str]) -> str:
        """The expression of the whole result."""
        def render(tree: Any) -> str:
            if isinstance(tree, str):
                return tree
            if type(tree) is list:
                return f"[{', '.join(map(render, tree))}]"
            if type(tree) is tuple:
                return f"({''.join(render(t) + ', ' for t in tree)})"
            if type(tree) is dict and all(isinstance(k, (str, int)) for k in tree):
                return "{" + ", ".join(f"{k!r}: {render(v)}" for k, v in tree.items()) + "}"
            if tree is None:
                return "None"
            raise TypeError
        try:
            return render(optree.tree_unflatten(self.plan.structure, list(leaves)))
        except TypeError:
            return f"unflatten({self.name(self.plan.structure)}, [{', '.join(leaves)}])"


def is_array(s: From) -> bool:
    """Whether an input without axes is an array all the same, and no NumPy scalar."""
    return isinstance(s.owner, np.ndarray) if s.what == "array" else isinstance(
        s.owner.get(), np.ndarray) if s.what == "place" else False


def source_of(s: From, rebound: dict[int, Place]) -> Any:
    """Where machine code finds an input; None if only Python does."""
    if s.what == "array":
        return Held(s.owner)
    if s.what == "place":
        return place_source(s.owner)
    if s.owner.__class__ is not Tensor:
        return None
    place = rebound.get(id(s.owner))
    owner = Held(s.owner) if place is None else place_source(place)
    if owner is None:
        return None
    return Slot(owner if s.what == "value" else Slot(owner, Tensor, "_gradient"), Tensor, "value")


def place_source(p: Place) -> Any:
    """Where machine code finds what stands at a place; None if only Python does."""
    holder, key = p.holder, p.key
    source: Any = None
    if isinstance(key, Attribute):
        if isinstance(holder, CellType):
            source = Cell(holder)
        elif isinstance(holder, ModuleType):  # whose dictionary is always the same one
            source = Item(vars(holder), key.name) if key.name in vars(holder) else None
        else:
            source = Named(Held(holder), key.name)
    elif type(holder) is dict:
        source = Item(holder, key)
    elif type(holder) is list and type(key) is int and key >= 0:
        source = Element(Held(holder), list, key)
    value = p.outer()
    for i in p.inner:
        if source is None or not isinstance(value, tuple):
            return None
        source, value = Element(source, type(value), i), value[i]
    return source


def native_guards(tracing: Tracing, rebound: dict[int, Place]) -> list[Any] | None:
    """The guards of a version as machine code asks them; None if there is one that it cannot ask.

    They are those of `plans.Text.check`; arrays and numbers are tested where they are read.
    """
    found, guards = tracing.found, list[Any]()
    if len(found.arrays) > len({id(p.get()) for p in found.arrays}):
        return None
    asked: list[tuple[Any, Any, Any]] = [(p, v, "is") for p, v in found.same
                                         if rebound.get(id(v)) != p]
    asked += [(p, v, "is" if v is None or isinstance(v, bool) else "==") for p, v in found.equal]
    if any(isinstance(v, np.ndarray) for _, v in tracing.capture.fixed):
        return None
    asked += [(p, v, "==") for p, v in tracing.capture.fixed]
    asked += [(p, (type(p.get()), n), "len") for p, n in found.lengths]
    asked += [(p.place, tracing.capture.relied[p.start], "==") for p in tracing.capture.placed
              if tracing.capture.relied.get(p.start) is not None]
    for place, value, how in asked:
        if isinstance(place.holder, Passing):
            continue
        source = place_source(place)
        if source is None:
            return None
        guards.append(Guard(source, value, how))
    for c in found.containers:
        if type(c) not in (list, dict):
            return None
        guards.append(Guard(Held(c), (type(c), len(c)), "len"))
    for kept in tracing.capture.held.values():
        more = tensor_guards(tracing, kept, rebound)
        if more is None:
            return None
        guards += more
    return guards


def tensor_guards(tracing: Tracing, kept: Any, rebound: dict[int, Place]) -> list[Any] | None:
    """What must be as it was of one tensor: what is known of it, whether gradients are there."""
    t, value, n, grad, _, _ = kept
    if id(t) in tracing.capture.gradients or isinstance(value, Box):
        return []
    place = rebound.get(id(t))
    owner = Held(t) if place is None else place_source(place)
    if owner is None or t.__class__ is not Tensor:
        return None

    def slot(name: str) -> Any:
        return Slot(owner, Tensor, name)
    guards = [Guard(slot("aval"), aval_of(value)),
              Guard(slot("node"), None, "is" if n is None else "is not")]
    if isinstance(n, LeafNode):
        if n.hooks != ():  # there were some, which Python asks for
            return None
        guards.append(Guard(Slot(slot("node"), LeafNode, "hooks"), ()))
    if n is not None and grad is None:
        t._gradient = None  # an unset slot does not fit
        guards.append(Guard(slot("_gradient"), None))
    elif n is not None:
        guards.append(Guard(Slot(slot("_gradient"), Tensor, "aval"), grad.aval))
    return guards


class Leaf:
    """A leaf of a tree of results, which optree takes for one."""

    def __init__(self, part: Any) -> None:
        self.part = part


def shaped(tree: Any) -> Any:
    """The tree of results that `call.entry` makes. TypeError for a class that it cannot make."""
    if isinstance(tree, Leaf):
        return tree.part
    if tree is None:
        return Constant(None)
    if type(tree) in (tuple, list):
        return type(tree)([shaped(t) for t in tree])
    if type(tree) is dict:
        return {k: shaped(t) for k, t in tree.items()}
    raise TypeError
