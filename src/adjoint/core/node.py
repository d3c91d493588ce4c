"""What is remembered: Aval (what is known of an array), Node (one step), a context's modes.

A `Node` is a vertex of the eager graph, a line of the tape and an equation of a traced program: one
record, so that the reverse sweep, trace tables, pictures and the compiler read the same thing. Its
inputs are always Nodes: a leaf, a constant, or an earlier step. ``value`` is None unless a rule
will read it.
"""

from __future__ import annotations

from contextvars import ContextVar
from itertools import count
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.errors import DTypeError

from .primitive import CONSTANT, LEAF, Primitive

if TYPE_CHECKING:
    from collections.abc import Callable

clock = count()  # one for the process: sorting Nodes by index is a topological order
new, ndarray, float64, vdot = object.__new__, np.ndarray, np.float64, np.vdot
NO_PARAMS: dict[str, Any] = {}
KNOWN_LIMIT = 10_000
MIXED = ("a Python object is no array of numbers; values of ad.teach and tensors do not mix in one "
         "operation. Give the number itself (v.data, v.value)")


class Aval:
    """What is known of an array before it exists: shape and dtype, interned.

    Equal shape and dtype are the same object, so that a test of both is one `is`.

    ``weak`` marks a Python number, which adopts the dtype that it meets (NEP 50).
    """

    __slots__ = ("dtype", "inexact", "shape", "weak")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], weak: bool = False) -> None:
        self.shape, self.dtype, self.weak = shape, dtype, weak
        self.inexact = dtype.kind in "fc"

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Aval) and (self.shape, self.dtype, self.weak) == (
            other.shape, other.dtype, other.weak)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype, self.weak))

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


known: dict[tuple[tuple[int, ...], Any], Aval] = {}


def aval(shape: tuple[int, ...], dtype: Any) -> Aval:
    """The one Aval of this shape and dtype."""
    found = known.get((shape, dtype))
    if found is None:
        if len(known) > KNOWN_LIMIT:  # forgetting costs speed, never correctness
            known.clear()
        dtype = np.dtype(dtype)
        if dtype.kind == "O":
            raise DTypeError(MIXED)
        found = known.setdefault((shape, dtype), Aval(shape, dtype))  # it was asked as np.float32
    return found


WEAK: dict[type, Aval] = {
    kind: Aval((), np.dtype(kind), weak=True) for kind in (float, int, complex)}


def aval_of(x: Any) -> Any:
    """Aval of an array, a number, a Box, or a tuple of them."""
    kind = x.__class__
    if kind is ndarray or kind is float64:
        return known.get((x.shape, x.dtype)) or aval(x.shape, x.dtype)
    if kind in WEAK:
        return WEAK[kind]
    if kind is tuple:
        return tuple(map(aval_of, x))
    found = getattr(x, "aval", None)
    if isinstance(x, Node):
        raise DTypeError(MIXED)
    if found is not None:
        return found
    x = np.asarray(x)
    return aval(x.shape, x.dtype)


class Node:
    """``value = prim(*inputs, **params)``: one step, recorded."""

    __slots__ = ("aval", "index", "inputs", "params", "prim", "site", "value")
    prim: Primitive
    inputs: tuple[Node, ...]  # None once the graph was freed
    params: dict[str, Any]
    value: Any
    aval: Any
    index: float
    site: Any

    def __repr__(self) -> str:
        inputs = ", ".join(f"%{i.index}" for i in self.inputs or ())
        return f"%{self.index}: {self.aval} = {self.prim}({inputs})"


class Leaf(Node):
    """A Node that nothing made; ``owner()`` is the Tensor whose ``.grad`` it feeds (weakly)."""

    __slots__ = ("hooks", "owner")
    owner: Callable[[], Any] | None
    hooks: tuple[Any, ...]


def node(prim: Primitive, inputs: tuple[Node, ...], params: dict[str, Any], value: Any, known: Any,
         cls: type[Any] = Node) -> Any:
    """A new Node, numbered by the clock."""
    n = cls()  # in 2/3 of the time of object.__new__(cls); and four targets would make a tuple
    n.prim, n.inputs, n.params = prim, inputs, params
    n.value, n.aval, n.site = value, known, None
    n.index = next(clock)
    return n


def leaf(value: Any, owner: Callable[[], Any] | None = None) -> Leaf:
    """The Node of a value that gradients are asked for."""
    n = node(LEAF, (), NO_PARAMS, value, aval_of(value), Leaf)
    n.owner, n.hooks = owner, ()
    return n


numbers: dict[float, Node] = {}
NUMBERS_LIMIT = 1000


def constant(value: Any, keep: bool = True, owned: bool = False) -> Node:
    """The Node of something that is not differentiated.

    With ``keep`` False it holds the Aval only, so that the array can be freed. What a Tensor owns
    is not copied. Python floats recur, so theirs are shared.
    """
    if value.__class__ is not float:
        kept = None if not keep else value if owned else private(value)
        return node(CONSTANT, (), NO_PARAMS, kept, aval_of(value))
    found = numbers.get(value)
    if found is None or value == 0.0:  # 0.0 == -0.0: never shared
        found = node(CONSTANT, (), NO_PARAMS, value, WEAK[float])
        if len(numbers) < NUMBERS_LIMIT:
            numbers[value] = found
    return found


def private(value: Any) -> Any:
    """``value``, or a copy of an array: even a read-only one may have a view that is not."""
    if value.__class__ is ndarray:
        return value.copy()
    return np.array(value) if isinstance(value, (ndarray, list)) else value


class Modes(NamedTuple):
    """What a context (thread or async task) has switched on."""

    paused: int = 0  # values of a level below this are not recorded (no_grad)
    site: Callable[[], Any] | None = None  # says which line of the user's asked for an operation
    tapes: tuple[list[Node], ...] = ()  # every new Node is appended to each, with its value
    whole: bool = False  # constants are kept, so that recorded steps can be run again (checkpoint)
    strict: bool = False  # 0 * inf is NaN, as IEEE has it
    watch: Any = None  # sees every operation, sweep and branch (the doctor, kinks)
    trace: Any = None  # the sub-Graph being traced: the barrier that outside values do not pass
    blocks: tuple[dict[str, Any], ...] = ()  # what each open block has changed


class Switch:
    """How many blocks, in all contexts, have a mode on. At 0 no operation asks for its modes."""

    __slots__ = ("armed", "lock")
    armed: int
    lock: Any


switch, DEFAULT = Switch(), Modes()
MODES = ContextVar("adjoint.modes", default=DEFAULT)
switch.armed, switch.lock = 0, Lock()


class Mode:
    """A block with some modes changed, for this context only; ``change(modes) -> modes``.

    Blocks may end in any order (generators do that): what is left is what the others have changed.
    """

    def __init__(self, change: Callable[[Modes], Modes]) -> None:
        self.change, self.open = change, list[dict[str, Any]]()

    def __enter__(self) -> Any:
        before = MODES.get()
        after = self.change(before)
        block = {k: v for k, v in after._asdict().items() if v is not getattr(before, k)}
        block["tapes"] = after.tapes[len(before.tapes):]
        MODES.set(after._replace(blocks=(*before.blocks, block)))
        self.open.append(block)
        with switch.lock:
            switch.armed += 1

    def __exit__(self, *_: object) -> None:
        block, modes = self.open.pop(), DEFAULT
        blocks = tuple([b for b in MODES.get().blocks if b is not block])
        if len(blocks) == len(MODES.get().blocks):  # left in another context: there it stays armed
            return
        for b in blocks:
            modes = modes._replace(**b | {"tapes": modes.tapes + b["tapes"]})
        MODES.set(modes._replace(blocks=blocks))
        with switch.lock:
            switch.armed -= 1
