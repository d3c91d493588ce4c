"""The doctor: finds the first step that makes a NaN or an infinity, forward or backward.

`Doctor` is the looker, `doctor` the block with one, `diagnose` runs a function under one. Values
are looked at as they are made. In a sweep every rule is overheard, and only if a gradient comes out
wrong the way is followed back from there, to the rule whose cotangent was still right.
"""

from __future__ import annotations

import inspect
import warnings
import weakref
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, live
from adjoint.core.careful import has_nan
from adjoint.core.forward import Dual
from adjoint.core.node import MODES, aval_of, leaf, node
from adjoint.core.primitive import CONSTANT, LEAF, Primitive
from adjoint.core.reverse import Tracked, order, sweep, tracked
from adjoint.errors import ArgumentError, NonFiniteError, NonFiniteWarning
from adjoint.modes import site, strict
from adjoint.show.places import Derived
from adjoint.show.remedies import TANGENT, consumers, remedy_for
from adjoint.tensors import Tensor
from adjoint.transforms.batching import Batch
from adjoint.transforms.trees import flatten, lift, unflatten

from .describing import backward_finding, forward_finding, incoming
from .opening import opened
from .parts import any_bad, bad, concrete, origin, parts, place
from .report import Report
from .watching import Block, Looker
from .ways import name_of, owner_of, printed, users_frames, variable_of, way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ON = ("raise", "warn", "report")
LIMIT, GROWN = 50, 1e3  # findings that one report holds; growth that a report mentions
NAMED = 10_000


class Doctor(Looker):
    """Looks for NaN and infinity in one block."""

    quiet = True

    def __init__(self, on: str, infinity: bool, report: Report) -> None:
        self.on, self.infinity, self.report = on, infinity, report
        self.operations = self.sweeps = 0
        self.steps: dict[tuple[int, int], Any] = {}  # how Duals were made: they hold no Node
        self.sizes: dict[int, tuple[Any, float]] = {}  # leaf's owner -> itself, first magnitude
        self.names: dict[float, str] = {}  # of leaves, by index: a Node would hold its values
        self.pending: list[tuple[int, Any, Any]] | None = None  # what `reconsider` looks at
        self.said: set[Any] = set()

    # ---- compiled functions

    @property
    def by_results(self) -> bool:
        """Whether results are all that matters: `diagnose` reports every step."""
        return self.pending is None

    def wrong(self, outs: Sequence[Any]) -> bool:
        """Whether a compiled function gave something that is not finite."""
        self.operations += 1
        return any(any_bad(y, self.infinity) for y in outs)

    # ---- operations

    def operation(self, row: Primitive, args: Sequence[Any], params: dict[str, Any], y: Any) -> Any:
        """Look at a result: was it made wrong here?"""
        if not any(isinstance(a, (Box, tuple)) for a in args) or not concrete(y):
            return y
        self.operations += 1
        made = self.node_of(row, args, params, y)
        for part in parts(y):
            wrong = bad(part.array, self.infinity)
            if not np.any(wrong):
                continue
            operands = [list(parts(a)) for a in args]
            here = origin(part, [p for each in operands for p in each], row.elementwise,
                          self.infinity) & wrong
            if np.any(here):
                there = place(part, here)
                self.found(*forward_finding(row, args, operands, there, params, site()), made)
                break
            if not self.report.findings:
                came = incoming(row, operands, self.infinity)
                if came is not None:
                    self.found(*came, made)
                break
        return y

    def node_of(self, row: Primitive, args: Sequence[Any], params: dict[str, Any], y: Any) -> Any:
        """The Node of a result. A Dual gets one here, without values, to know its way."""
        sources = tuple([self.source_of(a) for a in args])
        recorded = recorded_in(y)
        if recorded is not None:
            return recorded
        n = node(row, sources, params, None, aval_of(y))
        n.site = site()
        if isinstance(y, (Dual, Batch)):
            if any(level not in live for _, level in self.steps):
                self.steps = {k: v for k, v in self.steps.items() if k[1] in live}
            self.steps[id(y), y.level] = n
        return n

    def source_of(self, x: Any) -> Any:
        """The Node of an operand."""
        recorded = recorded_in(x)
        if recorded is not None:
            if not recorded.inputs and owner_of(recorded) is None:
                self.name(recorded, x)
            return recorded
        if isinstance(x, (Dual, Batch)):
            found = self.steps.get((id(x), x.level))
            if found is None:
                found = self.steps[id(x), x.level] = node(LEAF, (), {}, None, x.aval)
                self.name(found, x)
            return found
        value = x if isinstance(x, (int, float)) else None
        return node(CONSTANT, (), {}, value, aval_of(x))

    def name(self, n: Any, x: Any) -> None:
        """Note what the user calls an argument, while the function that has it is running."""
        if n.index not in self.names:
            if len(self.names) > NAMED:
                self.names.clear()
            self.names[n.index] = variable_of(
                lambda value: value is x, islice(users_frames(), 1))

    def moved(self, n: Any, dxs: Sequence[Any], dy: Any) -> None:
        """Look at a tangent that went through a recorded step."""
        if not any_bad(dy, self.infinity) or any(map(any_bad, dxs)):
            return
        operands = [[*parts(i.value), *parts(dx, TANGENT)]
                    for i, dx in zip(n.inputs, dxs, strict=True)]
        part = next(p for p in parts(dy, TANGENT) if np.any(bad(p.array, self.infinity)))
        there = place(part, bad(part.array, self.infinity))
        self.found(*forward_finding(n.prim, [i.value for i in n.inputs], operands, there, n.params,
                                    n.site), n)

    # ---- sweeps

    def sweep(self, seeds: Mapping[Any, Any], retain: bool, record: Any) -> dict[Any, Any]:
        """Run a sweep with every rule overheard; follow a wrong gradient back to where it began."""
        nodes = order(list(seeds))
        self.sweeps += 1
        self.measure(nodes)
        rows = {n: getattr(n.prim.vjp, "overheard", n.prim) for n in nodes if n.inputs}
        heard: dict[Any, tuple[Any, Any]] = {}
        try:
            for n, row in rows.items():
                n.prim = overheard(n, row, heard)
            leaves = sweep(seeds, retain=True, record=record)
        finally:
            for n, row in rows.items():
                n.prim = row
        self.operations += len(heard)
        wrong = [n for n, dx in leaves.items() if any_bad(dx, self.infinity)]
        if wrong and opened(nodes):
            self.sweeps -= 1
            return self.sweep(seeds, retain, record)
        if wrong:
            self.follow(min(wrong, key=lambda n: n.index), heard, leaves)
        if not retain:
            for n in rows:
                n.value = n.inputs = None  # pyright: ignore[reportAttributeAccessIssue] - freed
        return leaves

    def follow(self, target: Any, heard: Mapping[Any, Any], leaves: Mapping[Any, Any]) -> None:
        """From a wrong gradient back to the rule whose own cotangent was right."""
        givers: dict[Any, list[tuple[Any, int]]] = {}
        for n, (_, given) in heard.items():
            for k, source in enumerate(n.inputs):
                if given[k] is not None and any_bad(given[k]):
                    givers.setdefault(source, []).append((n, k))
        at = target
        while at in givers:
            n, k = next(((n, k) for n, k in givers[at] if not any_bad(heard[n][0])), givers[at][0])
            if not any_bad(heard[n][0]):
                self.found(*backward_finding(n, k, *heard[n]), n, target, list(heard))
                return
            at = n
        arrived = heard[at][0] if at in heard else leaves[target]
        self.found(*backward_finding(at, None, arrived, ()), at, target)

    def measure(self, nodes: Sequence[Any]) -> None:
        """Note how large the parameters are the first time that they are seen."""
        for n in nodes:
            owner = owner_of(n)
            if owner is not None and id(owner) not in self.sizes:
                self.sizes[id(owner)] = (weakref.ref(owner), magnitude(owner))

    def growth(self, steps: Sequence[Any]) -> str:
        """What there is to say of a parameter that has grown a thousandfold; empty if none has."""
        for n in steps:
            owner = owner_of(n)
            known = self.sizes.get(id(owner)) if owner is not None else None
            if known is None or known[0]() is not owner or self.sweeps < 2:
                continue
            first, now = known[1], magnitude(owner)
            if np.isfinite(first) and now > GROWN * max(first, 1.0):
                return (f"{name_of(n) or 'the parameter'} has grown from {first:.3g} to {now:.3g} "
                        f"in {self.sweeps} backward passes: that is what too large steps do. Take "
                        "a smaller learning rate, or clip the gradients")
        return ""

    # ---- what was found

    def found(self, finding: Any, case: Any, n: Any, target: Any = None,
              nodes: Sequence[Any] = ()) -> None:
        """Add a finding, or raise it; ``nodes`` are the steps that may have used the result."""
        key = finding.phase, finding.operation, finding.file, finding.line, finding.kind
        if key in self.said or len(self.report.findings) >= LIMIT:
            return
        self.said.add(key)
        steps = way(n, target)
        advice = remedy_for(n, case, consumers(n, nodes)) if case else ""
        remedy = "; ".join(filter(None, (advice, self.growth(steps))))
        finding = replace(finding, way=printed(steps, self.names), remedy=remedy)
        if self.pending is not None:
            self.pending.append((len(self.report.findings), n, case))
        self.report.findings.append(finding)
        if self.on == "raise":
            raise NonFiniteError(str(Report([finding])), self.report)
        if self.on == "warn":
            warnings.warn(str(Report([finding])), NonFiniteWarning, stacklevel=2)

    def reconsider(self, nodes: Sequence[Any]) -> None:
        """Look for better remedies, now that it is known what was done with the results."""
        for k, n, case in self.pending or ():
            remedy = remedy_for(n, case, consumers(n, nodes)) if case else ""
            if remedy:
                self.report.findings[k] = replace(self.report.findings[k], remedy=remedy)
        self.pending = None


def recorded_in(x: Any) -> Any:
    """The Node of a value, also of one that is seen through a batch; None if it has none."""
    while isinstance(x, Batch):
        x = x.value
    return x.node if isinstance(x, Tracked) else None


def magnitude(owner: Any) -> float:
    """The largest absolute value in a parameter."""
    return max((float(np.max(np.abs(p.array), initial=0.0)) for p in parts(owner)), default=0.0)


def overheard(n: Any, row: Primitive, heard: dict[Any, Any]) -> Primitive:
    """``row`` with a vjp that notes what it was given and what it gave, for the Node ``n``.

    What the rule itself records has the line of the step whose rule it is.
    """
    behind = Derived(n.site) if n.site is not None else None
    if behind is not None:
        behind.row = row.name

    def vjp(dy: Any, *rest: Any, **params: Any) -> Any:
        before = MODES.get()
        MODES.set(before._replace(site=lambda: behind))
        try:
            given = row.vjp(dy, *rest, **params)
        finally:
            MODES.set(before)
        heard[n] = dy, given
        return given
    vars(vjp)["overheard"] = row  # another thread's doctor may meet it in a graph that both sweep
    return replace(row, vjp=vjp)


def doctor(on: str = "raise", infinity: bool = True) -> Block:
    """A block in which the first operation that makes a NaN or an infinity is named.

    It sees operations on tensors and under `grad`, `jvp`, `vmap` as they are made, and every sweep
    whose gradients come out wrong. The report names the operation, the line, the element's index,
    the operands there, the way from there to the parameter, and what to write instead where that is
    known. Without such a block nothing is slower; inside it all is much slower. It holds for this
    thread or task; a block inside another replaces it. Also a decorator.

    Args:
        on: "raise" (NonFiniteError, at once), "warn" (NonFiniteWarning, once a line), or "report":
            everything is collected in the Report that the block gives.
        infinity: Whether infinities count, too; with False only NaN does, for programs that mask
            with -inf.

    Raises NonFiniteError, whose ``report`` is the Report; ArgumentError for another ``on``.

    >>> x = ad.tensor([1.0, 0.0], requires_grad=True)
    >>> with ad.doctor("report") as report:
    ...     y = np.log(x)
    >>> report.first.operation, report.first.index, report.first.operands
    ('log', (1,), ('0.0',))
    """
    if on not in ON:
        raise ArgumentError(f'on is "raise", "warn" or "report", not {on!r}')
    report = Report()
    return Block(lambda: Doctor(on, infinity, report), Doctor, answer=report)


def diagnose(f: Callable[..., Any], *args: Any, infinity: bool = True) -> Report:
    """Run ``f`` and its gradient at ``args``; report what made a NaN or an infinity.

    The gradient is that of the sum of all results by every floating point argument, and by the
    tensors that ``f`` closes over (a module's parameters); ``.grad`` is not touched.

    Args:
        f: A function of pytrees of numbers, arrays and tensors.
        args: The point. Integers and other objects are passed on as they are.
        infinity: Whether infinities count, too.

    Returns:
        The Report, whose truth is "nothing was found". What was found may not have reached the
        results (``report.finite``): an infinity in a branch that `np.where` did not take.

    >>> report = ad.diagnose(lambda x: np.sqrt((x * x).sum()), np.zeros(2))
    >>> report.first.phase, report.first.operation
    ('backward', 'sqrt')
    >>> print(ad.diagnose(np.sin, 0.0))
    nothing found
    checked: 1 operation forward, 1 sweep back to x
    """
    if not callable(f):
        raise ArgumentError(f"ad.diagnose(f, *args): f is a function, not {type(f).__name__}; "
                            "write ad.diagnose(lambda x: ..., x)")
    report = Report()
    looker = Doctor("report", infinity, report)
    looker.pending = []
    with Block(lambda: looker, Doctor):
        inner, leaves = variables(f, args, looker)
        outputs = flatten(f(*inner))[0]
        forward = looker.operations
        seeds: dict[Any, Any] = {}
        for y in outputs:
            if isinstance(y, Tensor) and y.node is not None and y.aval.inexact:
                seeds.setdefault(y.node, np.ones(y.shape, y.dtype)[()])
        nodes = order(list(seeds))
        with np.errstate(all="ignore"):
            gradients = MODES.get().watch.sweep(seeds, True, None) if seeds else {}
            report.cancelled = cancelled(seeds, gradients, looker)
    looker.reconsider(nodes)
    results = [*outputs, *gradients.values()]
    report.finite = not any(any_bad(y, infinity) for y in results)
    report.checked = summary(forward, looker, gradients, leaves)
    return report


def cancelled(seeds: Mapping[Any, Any], gradients: Mapping[Any, Any], looker: Doctor) -> Any:
    """What a sweep by IEEE 754 finds wrong if its gradients have a NaN that these have not."""
    if not seeds:
        return None
    other = Doctor("report", looker.infinity, Report())
    other.names = looker.names
    with Block(lambda: other, Doctor), strict():
        plain = MODES.get().watch.sweep(seeds, True, None)
    with np.errstate(all="ignore"):
        lost = any(has_nan(dx) and not has_nan(gradients[n]) for n, dx in plain.items())
    return other.report.first if lost else None


def variables(f: Any, args: Sequence[Any], looker: Doctor) -> tuple[list[Any], list[Any]]:
    """The arguments with a leaf for every floating point one; the leaves have the names of f's."""
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):  # built-in functions show none
        names = []
    inner: list[Any] = []
    leaves: list[Any] = []
    for k, arg in enumerate(args):
        given, structure = flatten(arg)
        boxes: list[Any] = []
        paths = structure.paths()
        for j, x in enumerate(given):
            boxes.append(variable(x))
            n = getattr(boxes[-1], "node", None)
            if n is not None:
                name = names[k] if k < len(names) else f"argument {k}"
                path = "".join(f"[{key!r}]" for key in paths[j])
                looker.names[n.index] = name + path
                leaves.append(n)
        inner.append(unflatten(structure, boxes))
    return inner, leaves


def variable(x: Any) -> Any:
    """A floating point argument as a tracked Tensor; anything else as it is."""
    if isinstance(x, Box) and getattr(x, "node", None) is not None:
        return x
    if not isinstance(x, (Box, float, complex, np.ndarray, np.generic)) or not aval_of(x).inexact:
        return x
    n = leaf(lift(x))
    return tracked(Tensor, n.value, 0, n)


def summary(forward: int, looker: Doctor, gradients: Mapping[Any, Any], leaves: Sequence[Any]
            ) -> str:
    """What was looked at."""
    text = f"{forward} operation{'s' * (forward != 1)} forward"
    if not looker.sweeps:
        return text + "; no result depends on a floating point argument, so no gradient"
    others = sum(n not in leaves for n in gradients)
    names = [looker.names[n.index] for n in leaves if n in gradients]
    if others:
        names.append(f"{others} tensor{'s' * (others != 1)} that it closes over")
    sweeps = f"{looker.sweeps} sweep{'s' * (looker.sweeps != 1)}"
    return f"{text}, {sweeps} back" + (f" to {', '.join(names)}" if names else "")
