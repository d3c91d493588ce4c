"""What the user calls a value: variables of the frames that run, parameters, layers.

A `Witness` is a tape: every Node is appended to it as it is recorded. Each time it looks at the
frames of the user that have run since the last time: a variable that holds a value recorded before
names it. That finds every assignment, `a, b = f(x), g(x)` and `ys.append(y)` too, without reading
bytecode, and in a REPL where there is no source.

Every step pays for this, so nothing is asked twice: while a function runs, the functions that
called it stand still and stay the same. (Not so those around a generator, which is resumed.)
"""

from __future__ import annotations

import inspect
import re
import sys
from bisect import bisect
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import Leaf, Node, clock
from adjoint.core.primitive import CONSTANT
from adjoint.core.reverse import Tracked
from adjoint.modes import HERE
from adjoint.ops.declare import COMPOSED

from .places import operand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType, FrameType

FRAMES = 30  # looked at, from the innermost one
FEW, LAST = 16, 1  # of a list all elements are looked at, or the last
ARRAYS = 200  # constants that are compared with variables
USERS, RESUMED, LAYER, PLAIN = "the user's", "the user's, resumed", "a layer", ""
NOTHING, TRACKED, OTHER = range(3)  # what variables of a class hold: another Box, or a list
RESUMABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
OURS = {composed.decompose.__code__: name for name, composed in COMPOSED.items()}


# the user's frames, innermost first, and the layers outside each of them, outermost first
Around = tuple[list["FrameType"], list[tuple["Call", ...]]]


class Witness:
    """A tape that knows what the user calls each Node, and in which layer it was made."""

    def __init__(self, stop: CodeType) -> None:
        self.stop = stop
        self.nodes: list[Node] = []
        self.names: dict[Node, str] = {}
        self.groups: dict[Node, tuple[Call, ...]] = {}
        self.waiting: set[Node] = set()
        self.around: Around = [], []
        self.scopes: dict[int, FrameType] = {}
        self.whose: dict[int, str] = {}  # by the id of a code: its hash reads all of it
        self.codes: list[CodeType] = []  # these codes, so that their ids stay theirs
        self.kinds: dict[type, int] = {}
        self.marks: list[tuple[int, Any]] = []

    def append(self, n: Node) -> None:
        """A Node was recorded: name those before it, and note where this one was made."""
        before, _ = last = self.around
        ran, groups, now = self.surroundings(last)
        if groups:
            self.groups[n] = groups
        frames, _ = now
        n.site = (frames[0].f_code, frames[0].f_lasti) if frames else None
        for frame in before[:ran]:
            self.look(frame)
        if now is not last:
            self.around = now
            for frame in frames:
                if frame not in before:
                    self.look(frame)
                    self.scopes[id(frame.f_code)] = frame
        self.nodes.append(n)
        self.waiting.add(n)

    def line(self, frame: FrameType, event: str, _: Any) -> Any:
        """Trace a program of teaching classes: they tell no tape, so every line is looked at."""
        code = frame.f_code
        if event == "call" and (kind_of(code, frame) not in {USERS, RESUMED} or is_rule(frame)):
            return None
        self.marks.append((next(clock), (code, frame.f_lasti)))
        if event != "call":
            for name, value in frame.f_locals.items():
                for label, x in elements(name, value):
                    if isinstance(x, Node):
                        self.names.setdefault(x, label)
        return self.line

    def site_of(self, n: Node) -> Any:
        """The line that ran when a value of a teaching class was made."""
        k = bisect(self.marks, n.index, key=lambda mark: mark[0])
        return self.marks[k - 1][1] if k else None

    def tell(self, value: Any, name: str, site: Any) -> None:
        """A program that is no Python says what it has just computed, by which name and where."""
        for n in self.waiting:
            n.site = site
        self.waiting.clear()
        for n in nodes_of(value) if name else ():
            self.names.setdefault(n, name)

    def finish(self) -> None:
        """The function has returned: look once more."""
        for frame in self.around[0]:
            self.look(frame)

    def forget(self) -> None:
        """Let the frames go: each holds its callers, this witness among them, and their arrays."""
        self.around = [], []
        self.scopes.clear()
        self.groups.clear()

    def surroundings(self, last: Around) -> tuple[int, tuple[Call, ...], Around]:
        """How many of the last frames may have run since; the layers around; the frames now."""
        frame: FrameType | None = sys._getframe(2)
        before, whose = last[0], self.whose
        innermost = before[0] if before else None
        users: list[FrameType] = []
        within: list[list[Call]] = []  # the layers inside each of them
        ours: list[tuple[FrameType, str]] = []
        while frame is not None and (code := frame.f_code) is not self.stop:
            kind = whose.get(id(code))
            if kind is None:
                kind = self.known(code, frame)
            if kind is USERS and frame is innermost and not users:  # nearly always
                return 1, last[1][0] if not ours else (*last[1][0], *calls(ours)[::-1]), last
            if kind is USERS and frame in before and len(users) + len(before) < FRAMES:
                return joined(last, before.index(frame), calls(ours), users, within)
            if kind is USERS or kind is RESUMED:
                users.append(frame)
                within.append(calls(ours))
                ours = []
                if len(users) == FRAMES:
                    break
            elif kind:
                ours.append((frame, kind))
            frame = frame.f_back
        around, groups = grouped(within, tuple(calls(ours)[::-1]))
        return len(before), groups, (users, around)

    def known(self, code: CodeType, frame: FrameType) -> str:
        """Whose code runs in a frame: the same for all frames of it."""
        self.codes.append(code)
        found = self.whose[id(code)] = kind_of(code, frame)
        return found

    def look(self, frame: FrameType) -> None:
        """Name what the variables of a frame hold, if it is new."""
        waiting, kinds = self.waiting, self.kinds
        if not waiting:
            return
        for name, value in frame.f_locals.items():
            kind = kinds.get(type(value))
            if kind is None:
                kind = kinds[type(value)] = kind_held(value)
            if kind == TRACKED and not isinstance(value.value, Box):
                if value.node in waiting:
                    waiting.discard(value.node)
                    self.names[value.node] = name
            elif kind:
                for label, x in elements(name, value):
                    for n in nodes_of(x):
                        if n in waiting:
                            waiting.discard(n)
                            self.names[n] = label


class Call:
    """One call of a layer, or of an operation that is written in others."""

    __slots__ = ("frame", "module", "name")

    def __init__(self, frame: FrameType, module: Any, name: str) -> None:
        self.frame, self.module, self.name = frame, module, name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self.frame is other.frame

    def __hash__(self) -> int:
        return id(self.frame)


def kind_of(code: CodeType, frame: FrameType) -> str:
    """Whose code runs in a frame: the user's, a layer's call, a composed operation's by name."""
    home = str(frame.f_globals.get("__name__"))
    if not code.co_filename.startswith(HERE):
        return PLAIN if home.partition(".")[0] == "numpy" else (
            RESUMED if code.co_flags & RESUMABLE else USERS)
    if home == "adjoint.nn.modules" and code.co_qualname == "Module.__call__":
        return LAYER
    return OURS.get(code) or (code.co_name if home == "adjoint.nn.functional" else PLAIN)


def is_rule(frame: FrameType) -> bool:
    """Whether a method of a teaching class runs that this package calls: no line of the program."""
    caller = frame.f_back
    return (caller is not None and caller.f_code.co_filename.startswith(HERE)
            and isinstance(frame.f_locals.get("self"), Node))


def calls(ours: list[tuple[FrameType, str]]) -> list[Call]:
    """The groups that a run of this package's frames makes, innermost first.

    A layer of this package is one group, whatever functions it is written in; of functions that
    call each other the outermost one is the group.
    """
    if not ours:
        return []
    found = [Call(frame, frame.f_locals["self"], "") for frame, whose in ours if whose is LAYER]
    return found or [Call(ours[-1][0], None, ours[-1][1])]


def joined(last: Around, place: int, inside: list[Call], users: list[FrameType],
           within: list[list[Call]]) -> tuple[int, tuple[Call, ...], Around]:
    """What `surroundings` tells where ``users`` run inside the frame at ``place`` of the last."""
    frames, around = last
    outside = around[place]
    if inside:
        outside = (*outside, *inside[::-1])
    inner, outside = grouped(within, outside)
    return place + 1, outside, (users + frames[place:], inner + around[place:])


def grouped(within: list[list[Call]], outside: tuple[Call, ...]
            ) -> tuple[list[tuple[Call, ...]], tuple[Call, ...]]:
    """The layers outside each of some frames, innermost first, and all those around a step."""
    around: list[tuple[Call, ...]] = []
    for found in reversed(within):
        around.append(outside)
        outside = (*outside, *found[::-1])
    return around[::-1], outside


def kind_held(value: Any) -> int:
    """What variables of a class hold."""
    return TRACKED if isinstance(value, Tracked) else (
        OTHER if isinstance(value, (Box, Node, list, tuple)) else NOTHING)


def elements(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A variable, or the elements of a list in it."""
    if isinstance(value, (Box, Node)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        few: Any = value
        start = 0 if len(few) <= FEW else len(few) - LAST
        for k in range(start, len(few)):
            if isinstance(few[k], (Box, Node)):
                yield f"{name}[{k}]", few[k]


def nodes_of(x: Any) -> Iterator[Node]:
    """The Nodes of a value at every level."""
    if isinstance(x, Node):
        yield x
    while isinstance(x, Box):
        n = getattr(x, "node", None)
        if n is not None:
            yield n
        x = x.value


# ---- leaves and constants

def scopes(f: Callable[..., Any], witness: Witness) -> Iterator[tuple[str, Any]]:
    """Every variable that the program could have read: of its frames, closures and globals."""
    codes = {frame.f_code: (frame.f_locals, frame.f_globals) for frame in witness.scopes.values()}
    inner: Any = getattr(f, "__wrapped__", f)
    code = getattr(inner, "__code__", None)
    if code is not None:
        cells = inner.__closure__ or ()
        yield from ((name, cell.cell_contents) for name, cell in zip(
            code.co_freevars, cells, strict=True) if filled(cell))
        codes = {code: codes.get(code, ({}, inner.__globals__))} | codes  # its own words first
    for used, (local, outer) in codes.items():
        yield from local.items()
        yield from ((name, outer[name]) for name in used.co_names if name in outer)


def filled(cell: Any) -> bool:
    """Whether a closure's cell holds something yet."""
    try:
        cell.cell_contents  # noqa: B018 - asking is what raises
    except ValueError:
        return False
    return True


def owned_names(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The tensors and arrays in variables, with the names that a user would type."""
    for name, value in found.items():
        if isinstance(value, (Box, np.ndarray)):
            yield name, value
        elif isinstance(value, dict):
            parts: dict[Any, Any] = value
            yield from ((f"{name}[{k!r}]", v) for k, v in parts.items()
                        if isinstance(v, (Box, np.ndarray)))
        elif isinstance(value, (list, tuple)):
            items: Any = value
            for k, v in enumerate(items[:1_000]):
                if isinstance(v, (Box, np.ndarray)):
                    yield f"{name}[{k}]", v
                elif hasattr(type(v), "named_parameters"):
                    yield from ((f"{name}[{k}].{p}", w) for p, w in v.named_parameters())
        elif hasattr(type(value), "named_parameters"):
            yield from ((f"{name}.{k}", v) for k, v in value.named_parameters())
        elif hasattr(value, "__dict__") and not isinstance(value, type(sys)):
            yield from ((f"{name}.{k}", v) for k, v in vars(value).items()
                        if isinstance(v, (Box, np.ndarray)))


def outside_names(f: Callable[..., Any], witness: Witness, nodes: list[Node]) -> dict[Node, str]:
    """The names of leaves and constant arrays that came from outside the function."""
    variables: dict[str, Any] = {}
    for name, value in scopes(f, witness):
        variables.setdefault(name, value)
    known = sorted(owned_names(variables), key=lambda pair: "]." not in pair[0])  # no loop variable
    by_owner = {id(v): name for name, v in reversed(known)}
    named: dict[Node, str] = {}
    exact = {id(value_of(v)): name for name, v in reversed(known)
             if getattr(v, "node", None) is None}  # a constant is no variable that moves
    arrays = [(name, v) for name, v in known if isinstance(v, np.ndarray)]
    for n in nodes[:ARRAYS]:
        if isinstance(n, Leaf):
            owner = n.owner() if n.owner is not None else None
            if id(owner) in by_owner:
                named[n] = by_owner[id(owner)]
        elif n.prim is CONSTANT and isinstance(n.value, (np.ndarray, np.generic)):
            same = {name: a for name, a in arrays if is_same(a, n.value)}
            if name := exact.get(id(n.value)) or chosen(same, n, witness):
                named[n] = name
    return without_doubles(named, witness)


def chosen(same: Mapping[str, Any], n: Node, witness: Witness) -> str:
    """Which variable a constant is, of those that hold equal arrays: the one that the line names.

    Empty if that does not tell: a value without a name is better than the name of another.
    """
    text = " ".join(operand(u.site, k) for u in witness.nodes
                    for k, x in enumerate(u.inputs) if x is n) if same else ""
    said = [name for name in same if not text.strip() or mentions(text, name) or (
        name.partition(".")[1] and mentions(text, name.partition(".")[0]))]
    whole = [name for name in said if mentions(text, name)] or said
    return whole[0] if len({id(same[name]) for name in whole}) == 1 else ""


def mentions(text: str, name: str) -> bool:
    """Whether an expression names a variable."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) is not None


def without_doubles(named: dict[Node, str], witness: Witness) -> dict[Node, str]:
    """Two constants of one step with one name have none: one of them is another array."""
    for u in witness.nodes:
        found = [named.get(i, "") for i in u.inputs or () if i.prim is CONSTANT]
        for i in u.inputs or ():
            if i.prim is CONSTANT and named.get(i) and found.count(named[i]) > 1:
                del named[i]
    return named


def value_of(x: Any) -> Any:
    """The array at the bottom of a value."""
    while isinstance(x, Box):
        x = x.value
    return x


def is_same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal in shape, dtype and every element: a graph holds a copy."""
    return (a.ndim > 0 and a.shape == b.shape and a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
