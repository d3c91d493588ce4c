"""The quick way of calling one version of a function: what `Jitted` does in general, written out.

`fast_call` makes it, for usual arguments and no open modes. Where machine code can ask and do
everything it is a builtin function (`call.entry`); else it is Python source made for this version,
around such a builtin. Whatever does not fit goes the general way, to ``slow``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from adjoint.core.box import Box
from adjoint.core.node import Switch, aval, switch
from adjoint.modes import DEFAULT_DTYPE
from adjoint.tensors import Tensor, untracked
from adjoint.transforms.trees import unflatten

from . import call
from .donation import apart, donate
from .guards import is_array, place_source, source_of
from .sources import (
    FLOAT,
    SCALAR,
    STATE,
    Argument,
    Constant,
    Context,
    Element,
    Guard,
    Held,
    Input,
    New,
    Output,
    Slot,
    into,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .plans import Plan

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
