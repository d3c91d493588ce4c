"""Running a function once with everything kept: from a call to a `Record`.

Arguments become leaves, the steps are witnessed (`naming.Witness`), sweeps inside (a training step
calls backward()) are retained, and what the result depends on becomes the Record.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import optree

from adjoint.core import reverse
from adjoint.core.box import Box, bind
from adjoint.core.node import MODES, Leaf, Mode, Node, aval_of
from adjoint.core.primitive import CONSTANT as CONSTANT_ROW
from adjoint.core.primitive import REGISTRY, Label
from adjoint.core.reverse import order
from adjoint.errors import ArgumentError, GraphError
from adjoint.modes import HERE
from adjoint.teach import AutogradValue, ForwardValue, Value
from adjoint.tensors import Tensor
from adjoint.transforms.trees import NAMESPACE, check_function, lift

from .assignments import assigned_names
from .flows import EngineRules, TaughtRules
from .formula import Formula
from .formula_words import brief
from .naming import Witness, nodes_of, outside_names, scopes
from .numbers import shown
from .places import located
from .record import CONSTANT, INPUT, OPERATION, SKIPPED, Cut, Place, Record, Step, uncollected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    from adjoint.core.primitive import Primitive

    from .naming import Call

SMALL = 4  # elements of a constant that is written out
CUTS = 1_000  # that are noted
WAYS = ("source", "v")
TAUGHT = Value, AutogradValue
Ended = tuple[Any, list[Node], Any]  # a row, what it was given, and where
BACKWARD, RECORDED, INNER = range(3)  # sweeps: the last two are there to be differentiated again


@dataclass(frozen=True)
class Run:
    """What one call left behind: its result, its witness, where sweeps began, its leaves."""

    result: Any
    witness: Witness
    sweeps: list[tuple[int, Node]]
    leaves: dict[Node, str]
    skipped: dict[int, str]  # id of an argument's array that no gradient is asked of
    cuts: list[Ended]

    @property
    def seeds(self) -> list[Node]:
        """Where those sweeps began that a training step is about: of the first kind there is."""
        kind = min((k for k, _ in self.sweeps), default=BACKWARD)
        return [n for k, n in self.sweeps if k == kind]


def capture(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], names: str
            ) -> Record:
    """The Record of ``f(*args, **kwargs)``."""
    check_function(f, "ad.explain(f, x)")
    if names not in WAYS:
        raise ArgumentError(f"explain: names={names!r} is 'source' (the variables of your program) "
                            "or 'v' (v1, v2, ...)")
    witness = Witness(witnessed.__code__)
    try:
        ran = run(f, args, kwargs, witness)
        output = output_of(ran, title_of(f))
        return built(f, ran, order([output, *unneeded(ran)])[::-1], output, names)
    finally:
        witness.forget()


def unneeded(ran: Run) -> list[Node]:
    """What was computed from the arguments, whether the result depends on it or not."""
    reached: set[Node] = set(ran.leaves)
    found: list[Node] = []
    for n in ran.witness.nodes:
        if n.inputs and not reached.isdisjoint(n.inputs):
            reached.add(n)
            if not n.prim.several:
                found.append(n)
    return found


def run(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], witness: Witness
        ) -> Run:
    """Call ``f`` on leaves, with a witness."""
    leaves: dict[Node, str] = {}
    skipped: dict[int, str] = {}
    given = bound(f, args, kwargs)

    def enter(path: Any, x: Any) -> Any:
        t = entered(x)
        if isinstance(t, Tensor):
            name = path_name(path)
            if t.node is not None:
                leaves.setdefault(t.node, name)
            else:
                skipped[id(t.value)] = name
        return t
    trees = cast("Any", optree)  # its types say that a function is no leaf
    inner = {k: trees.tree_map_with_path(lambda path, x, k=k: enter((k, *path), x), tree,
                                         namespace=NAMESPACE) for k, tree in given.items()}
    keyword = {k: inner.pop(k) for k in kwargs}
    sweeps, cuts = list[tuple[int, Node]](), list[Ended]()
    with Mode(lambda m: m._replace(tapes=(*m.tapes, witness), site=None,
                                   watch=Retaining(m.watch, sweeps, cuts))):
        taught = not leaves or any(isinstance(x, Node) for x in trees.tree_leaves(given))
        told = f.told(witness.tell) if isinstance(f, Formula) else f
        out = (traced if taught else witnessed)(told, list(inner.values()), keyword, witness)
    witness.finish()
    witness.names.update(assigned_names(witness.nodes, witness.names))
    return Run(out, witness, sweeps, leaves, skipped, cuts)


def witnessed(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], _: Witness
              ) -> Any:
    """Call ``f``; frames from here outwards are not the program's."""
    quiet: Any = {k: "ignore" for k, v in np.geterr().items() if v == "warn"}
    with np.errstate(**quiet):  # what is not finite is marked where it is shown
        return f(*args, **kwargs)


def traced(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any],
           witness: Witness) -> Any:
    """Call ``f``, which may compute with teaching classes, under the eyes of the witness."""
    before = sys.gettrace()
    sys.settrace(witness.line)
    try:
        return witnessed(f, args, kwargs, witness)
    finally:
        sys.settrace(before)


def inside() -> Any:
    """The code and the instruction of the program's innermost frame."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not witnessed.__code__:
        if not frame.f_code.co_filename.startswith(HERE):
            return frame.f_code, frame.f_lasti
        frame = frame.f_back
    return None


class Retaining:
    """A watch under which no sweep frees its graph, and which notes where sweeps began."""

    def __init__(self, before: Any, sweeps: list[tuple[int, Node]], cuts: list[Ended]) -> None:
        self.before, self.sweeps, self.cuts = before, sweeps, cuts
        self.modes: tuple[Any, Any] = None, None  # the last ones, and those without this watch
        self.lookers = () if before is None else before.lookers

    def replaced(self, watch: Any) -> Retaining:
        """A block inside looks as well: this one stays around it."""
        return Retaining(watch, self.sweeps, self.cuts)

    def __call__(self, row: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row``, with the watch that was there before."""
        modes, known = MODES.get(), self.modes
        if known[0] is not modes:
            known = self.modes = modes, modes._replace(watch=self.before)
        MODES.set(known[1])
        try:
            y = bind(row, args, params)
        finally:
            MODES.set(modes)
        if len(self.cuts) < CUTS and getattr(y, "node", None) is None:
            nodes = [n for a in args for n in nodes_of(a)]
            if nodes and not any(True for _ in nodes_of(y)):
                self.cuts.append((row, nodes, inside()))
        return y

    def truth(self, x: Any) -> None:
        """Python asks whether ``x`` is true."""
        if self.before is not None:
            self.before.truth(x)

    def moved(self, n: Any, dxs: Sequence[Any], dy: Any) -> None:
        """A tangent went through a recorded step."""
        if self.before is not None:
            self.before.moved(n, dxs, dy)

    def sweep(self, seeds: Mapping[Any, Any], retain: bool, record: Any) -> dict[Any, Any]:
        """Sweep, and keep the graph."""
        self.sweeps += [(INNER if is_inner(n) else BACKWARD if record is None else RECORDED, n)
                        for n in seeds]
        if self.before is not None:
            return self.before.sweep(seeds, True, record)
        return reverse.sweep(seeds, True, record)


def is_inner(n: Node | None) -> bool:
    """Whether `ad.grad` or its like recorded a Node: such leaves belong to no tensor."""
    while n is not None and n.inputs:
        n = next((i for i in n.inputs if i.prim is not CONSTANT_ROW), None)
    return isinstance(n, Leaf) and n.owner is None


# ---- arguments

def bound(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by the names of the parameters; extra positional ones as ``args[0]``."""
    if isinstance(f, Formula):
        return dict(zip(f.variables, f.arguments(tuple(args), kwargs), strict=True))
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # a ufunc, a builtin
        parameters = []
    found: dict[str, Any] = {}
    for k, x in enumerate(args):
        p = parameters[min(k, len(parameters) - 1)] if parameters else None
        if p is None:
            found[f"x{k + 1}"] = x
        elif p.kind is p.VAR_POSITIONAL:
            found[f"{p.name}[{k - parameters.index(p)}]"] = x
        else:
            found[p.name if k < len(parameters) else f"x{k + 1}"] = x
    return found | dict(kwargs)


def path_name(path: Sequence[Any]) -> str:
    """``params['w']`` for a leaf inside a container."""
    first, *rest = path
    return str(first) + "".join(f"[{k!r}]" for k in rest)


def entered(x: Any) -> Any:
    """An argument as the program gets it: numbers and arrays with a derivative are leaves."""
    if isinstance(x, Tensor):
        if x.level or (x.node is not None and not x.is_leaf):
            return x.detach().requires_grad_()
        return x
    if isinstance(x, Box) or not isinstance(x, (float, complex, np.ndarray, np.generic)):
        return x
    return Tensor(lift(x), requires_grad=True) if aval_of(x).inexact else x


def output_of(ran: Run, title: str) -> Node:
    """The Node that is explained: the result, or where a training step began its sweep."""
    leaves = [x for x in optree.tree_leaves(ran.result, namespace=NAMESPACE)
              if isinstance(x, (Tensor, Node))]
    found = [n for n in (x if isinstance(x, Node) else x.node for x in leaves) if n is not None]
    if not found and ran.seeds:
        return ran.seeds[0]
    if len(found) > 1:
        raise ArgumentError(f"explain: {title} returned {len(found)} results that depend on its "
                            "arguments; explain one of them, as in "
                            "ad.explain(lambda *xs: f(*xs)[0], ...), or join them with np.stack")
    if found:
        return found[0]
    if any(isinstance(x, ForwardValue) for x in optree.tree_leaves(ran.result)):
        raise ArgumentError(f"explain: {title} returned a ForwardValue, which carries derivatives "
                            "along and keeps no graph; call it with floats, and ask e.forward()")
    if not ran.leaves:
        raise ArgumentError(
            f"explain: no argument of {title} has a derivative: give floats (2.0, not 2), arrays "
            "of floats, or tensors with requires_grad=True")
    what = "a constant" if leaves or isinstance(ran.result, (float, np.ndarray)) else (
        f"{type(ran.result).__name__}")
    raise GraphError(f"explain: {title} returned {what}, which does not depend on its arguments: "
                     "nothing between them was recorded. Return the loss, or call backward() "
                     "inside, and do not leave the graph with detach() or no_grad() on the way")


def title_of(f: Callable[..., Any]) -> str:
    """What the function is called."""
    if isinstance(f, Formula):
        return brief(f.text.strip())
    f = f.func if isinstance(f, partial) else f
    name = getattr(f, "__qualname__", "") or type(f).__name__
    return name.rsplit("<locals>.", 1)[-1]


# ---- the record

@uncollected()
def built(f: Callable[..., Any], ran: Run, nodes: Sequence[Node], output: Node, names: str
          ) -> Record:
    """Steps for Nodes, oldest first; a Node with several results is part of its `item`."""
    made: dict[Node, Step] = {}
    leaves = [n for n in nodes if n.prim is CONSTANT_ROW or not n.inputs]
    outside = outside_names(f, ran.witness, [n for n in leaves if n not in ran.leaves])
    groups = group_names(ran.witness, f)
    first = [n for n in ran.leaves if isinstance(n, Node)]
    for n in [*first, *[n for n in nodes if n not in ran.leaves]]:
        if not n.prim.several:
            taught = isinstance(n, TAUGHT)
            made[n] = s = step_of(n, made, groups.get(n, ()), ran, taught=taught)
            s.given = s.name = ((taught and getattr(n, "label", "")) or ran.leaves.get(n)
                                or ran.witness.names.get(n) or outside.get(n)
                                or ran.skipped.get(id(s.value), ""))
            s.named = s.name != ""
    steps = [s for s in made.values() if s.kind == INPUT]
    steps += [s for s in made.values() if s.kind == OPERATION]
    used = dict.fromkeys([i for s in steps for i in s.inputs])  # by first use: some are made once
    constants = [s for s in {**used, **dict.fromkeys(made.values())}
                 if s.kind in {CONSTANT, SKIPPED}]
    name_all(steps, constants, names)
    rules = TaughtRules() if isinstance(output, AutogradValue) else EngineRules()
    cuts = [Cut(row, made[n], Place(*located(where))) for row, inputs, where in ran.cuts
            for n in inputs if n in made]
    cuts += detached(constants, steps)
    record = Record(steps, constants, made[output], rules, title_of(f), cuts)
    began = [n for kind, n in ran.sweeps if kind != INNER]
    if len(began) > 1 and output in began:
        record.remarks.append(
            f"backward() began {len(began)} times: this is the sweep from "
            f"{record.output.name}; what the others add to the gradients is not shown.")
    return record


def detached(constants: Sequence[Step], steps: Sequence[Step]) -> list[Cut]:
    """Constants that are the value of a step; those that no variable holds are named after it."""
    if len(constants) * len(steps) > CUTS * CUTS:
        return []
    found = [(s, source) for s in constants for source in steps if s.value is source.value]
    for s, source in found:
        if not s.given:
            s.name, s.given, s.named = f"detach({source.name})", source.name, True
    return [Cut(s.row, source, source.place) for s, source in found]


def step_of(n: Any, made: Mapping[Node, Step], group: tuple[str, ...], ran: Run, *, taught: bool
            ) -> Step:
    """The Step of one Node."""
    value, row, inputs = n.value, n.prim, n.inputs
    if taught:
        value = np.float64(n.data) if isinstance(n, Value) else np.asarray(value)[()]
    if row is CONSTANT_ROW:
        return Step(SKIPPED if id(value) in ran.skipped else CONSTANT, n, row, value)
    if not inputs:
        return Step(INPUT, n, row, value)
    if taught:
        return Step(OPERATION, n, taught_row(n), value, tuple([made[i] for i in inputs]),
                    group=group, site=ran.witness.site_of(n))
    source, picked = n, None
    if inputs[0].prim.several:
        (source,), picked = inputs, n.params["index"]
    return Step(OPERATION, n, source.prim, value, tuple([made[i] for i in source.inputs]),
                dict(source.params), group=group, site=n.site, picked=picked)


def taught_row(n: Node) -> Primitive:
    """The row of a step of teaching classes: of a Value the engine's own, which leaves no trace."""
    return REGISTRY[n.prim.name] if isinstance(n, Value) else replace(n.prim, label=Label())


def name_all(steps: Sequence[Step], constants: Sequence[Step], names: str) -> None:
    """Names for all: those of the source, told apart by numbers, or v1, v2, ..."""
    seen: dict[str, int] = {}
    for number, s in enumerate(steps, 1):
        s.number = number
        if names == "v" or not s.named:
            s.name, s.named = f"v{number}", False
        count = seen[s.name] = seen.get(s.name, 0) + 1
        if count > 1:
            s.name = f"{s.name}.{count}"
    for s in constants:
        s.name = s.name or (shown(s.value) if np.size(s.value) <= SMALL else "array")


def group_names(witness: Witness, f: Callable[..., Any]) -> dict[Node, tuple[str, ...]]:
    """The layers around each Node as names: ``("net", "0: Linear")``; a second call gets a .2."""
    labels: dict[Call, str] = {}
    known: dict[int, tuple[str, ...]] = {}  # by the id of the path, which most steps share
    counts: Counter[tuple[tuple[str, ...], str]] = Counter()
    found: dict[Node, tuple[str, ...]] = {}
    for n, path in witness.groups.items():
        if id(path) in known:
            found[n] = known[id(path)]
            continue
        above: list[str] = []
        parent: Any = None
        for call in path:
            if call not in labels:
                name = call.name or module_name(call.module, parent, witness, f)
                counts[tuple(above), name] += 1
                k = counts[tuple(above), name]
                labels[call] = name if k == 1 else f"{name}.{k}"
            above.append(labels[call])
            parent = call.module
        found[n] = known[id(path)] = tuple(above)
    return found


def module_name(module: Any, parent: Any, witness: Witness, f: Callable[..., Any]) -> str:
    """A layer by its attribute in the one around it, or by the variable that holds it."""
    kind = type(module).__name__
    if parent is not None:
        for name, part in parent.named_modules():
            if part is module and name:
                return f"{name}: {kind}"
        return kind
    if module is f:
        return kind
    for name, value in scopes(f, witness):
        if value is module and name != "self":
            return name
    return kind
