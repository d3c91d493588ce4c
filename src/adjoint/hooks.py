"""Hooks, and where a gradient goes when it arrives: a user's function may see and replace it.

For a leaf they hang on the Node and run when its whole gradient is known. For a result its Node
steps aside: a copy of it takes its place in time, and the Node itself, which later operations
already refer to, becomes the identity row ``hook`` on that copy, whose vjp calls the functions.
Recording and sweeping without hooks cost nothing more.
"""

from __future__ import annotations

import itertools
import weakref
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import Leaf, Node, aval, ndarray, new
from adjoint.core.primitive import PUBLIC, Label, Primitive
from adjoint.core.reverse import Tracked, tracked
from adjoint.errors import ArgumentError, RuleError

from .exits import bottom

if TYPE_CHECKING:
    from collections.abc import Callable

numbers = itertools.count()
RETAIN = -1  # the place of what retain_grad() asks for; hooks are numbered from 0
ADDING = RLock()  # reading .grad and writing the sum is one step, whichever threads add to it


def _back(dy: Any, y: Any, x: Any, needs: Any, functions: dict[int, Any]) -> tuple[Any]:
    for number, f in list(functions.items()):
        if number != RETAIN:
            dy = f(dy)
    if RETAIN in functions:  # last, as in PyTorch: it sees what the hooks answered
        keep(functions[RETAIN](), dy)
    return (dy,)


HOOK = Primitive(
    "hook", lambda x, functions: x, vjp=_back, jvp=lambda dxs, y, x, functions: dxs[0],
    aval=lambda x, functions: aval(x.shape, x.dtype),
    batch=lambda size, axes, x, functions: (x, axes[0]), lower=lambda b, x, functions: x,
    label=Label("{0}", "{0}", (), "hook", " (", (r"\mathrm{{hook}}({dy})",)), effects="callback")


def _batch_written(size: int, axes: Any, x: Any, v: Any) -> tuple[Any, int]:
    return (v, axes[1]) if axes[1] is not None else (
        PUBLIC["broadcast_to"](v, (size, *v.shape)), 0)


# A write under no_grad: the value is another, the derivative stays. Run again it writes again.
WRITTEN = Primitive(
    "written", lambda x, v: v, vjp=lambda dy, y, x, v, needs: (dy, None),
    jvp=lambda dxs, y, x, v: dxs[0], aval=lambda x, v: aval(x.shape, x.dtype),
    batch=_batch_written, lower=lambda b, x, v: v,
    label=Label("set({0}, {1})", "{0} := {1}", ("1", "0"), "write"))


class Handle:
    """A registered hook; ``remove()`` takes it away."""

    def __init__(self, functions: dict[int, Any], number: int) -> None:
        self.functions, self.number = functions, number

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self.functions.pop(self.number, None)


def attach(tensor: Any, hook: Callable[[Any], Any]) -> Handle:
    """Register ``hook`` on the Node of ``tensor``."""
    functions, number = functions_of(tensor.node), next(numbers)
    functions[number] = hook
    return Handle(functions, number)


def functions_of(n: Any) -> dict[int, Any]:
    """The hooks of a Node, to be added to."""
    if isinstance(n, Leaf):
        if n.hooks == ():  # a dict, shared by the Nodes that this leaf gets in updates in place
            setattr(n, "hooks", {})  # noqa: B010 - core declares a tuple: no hooks
        found: Any = n.hooks
        return found
    if n.prim is not HOOK:
        step_aside(n)
    return n.params["functions"]


def of(n: Any) -> list[Any]:
    """The hooks of a leaf."""
    return list(n.hooks.values()) if n.hooks else []


def step_aside(n: Node) -> None:
    """Make ``n`` the identity on a copy of itself that stands just before it."""
    before = Node()
    for slot in Node.__slots__:
        setattr(before, slot, getattr(n, slot))
    n.__class__ = Node  # which has parameters of its own, other than `ops.flat.Step`
    n.prim, n.inputs, n.params, n.site = HOOK, (before,), {"functions": {}}, before.site
    n.index = before.index + 0.5


def behind(n: Node) -> Node:
    """The operation that a hook stands before."""
    return n.inputs[0] if n.prim is HOOK and n.inputs else n


def shown(hook: Callable[[Any], Any], cls: type[Tracked]) -> Callable[[Any], Any]:
    """``hook`` as the sweep calls it: it sees the gradient as a Tensor, and may answer another.

    A change in place counts as an answer. It never reaches the cotangent of another tensor, which
    may be the same object: the hook gets a handle of its own.
    """
    def call(dy: Any) -> Any:
        given = conjugate(dy)
        recorded = isinstance(given, Tracked) and given.level == 0
        seen = handle(given) if recorded else tracked(cls, given, 0, None)
        before = seen.value
        answer = hook(seen)
        if answer is None:
            if seen.value is before:
                return dy
            answer = seen
        if np.shape(answer) != dy.shape:
            raise ArgumentError(f"a hook returns None or a gradient of shape {dy.shape}, "
                                f"not {answer!r}")
        return conjugate(answer if recorded else plain(answer, dy))
    return call


def plain(answer: Any, dy: Any) -> Any:
    """What a hook answered, as the cotangent that it replaces: outside the graph, in its dtype."""
    if not isinstance(dy, Box):
        answer = bottom(answer)
    elif isinstance(answer, Tracked) and answer.level == 0:  # of a value that does not exist yet
        answer = answer.value
    if not isinstance(answer, Box):
        return np.array(answer, dtype=dy.dtype)[()]
    return answer if answer.dtype == dy.dtype else PUBLIC["astype"](answer, dy.dtype)


# ---- gradients that have arrived

def conjugate(dy: Any) -> Any:
    """The gradient of a complex variable is the direction of steepest ascent (as in PyTorch).

    The rules compute with transposes, so cotangents are conjugated where they enter and leave.
    """
    return dy.conj() if dy.dtype.kind == "c" else dy


def handle(x: Any) -> Any:
    """Another Box of the same value and place in the graph: a change of one leaves the other."""
    y = new(x.__class__)
    for cls in x.__class__.__mro__:
        for slot in getattr(cls, "__slots__", ()):
            if not slot.startswith("_"):
                setattr(y, slot, getattr(x, slot))
    return y


def copied(x: Any) -> Any:
    """Another Box of the same place in the graph, on a copy of the value."""
    y = handle(x)
    if y.value.__class__ is ndarray:
        y.value = y.value.copy()
    return y


def apart(dx: Any, cls: type[Tracked], recorded: bool, given: set[int]) -> Any:
    """A gradient as a Tensor of its own: it shares no memory with those in ``given``."""
    n, value = None, dx
    if isinstance(dx, Tracked) and dx.level == 0:
        cls, n, value = dx.__class__, dx.node if recorded else None, dx.value
    if value.__class__ is ndarray and (value.base is not None or id(value) in given):
        value = value.copy()
    given.add(id(value))
    return tracked(cls, value, 0, n)


def keep(tensor: Any, dy: Any) -> None:
    """`retain_grad`: add the gradient to that of its tensor, if it is still there."""
    if tensor is not None:
        dx = conjugate(dy)
        recorded = isinstance(dx, Tracked) and dx.level == 0
        with ADDING:
            before = tensor.grad
            tensor._gradient = added(before, dx, recorded) if before is not None else copied(
                dx) if recorded else apart(dx, tensor.__class__, False, {id(dx)})


def retain(tensor: Any) -> None:
    """Have `keep` called when the gradient of a result is complete; asking twice is asking once."""
    functions_of(tensor.node)[RETAIN] = weakref.ref(tensor)


def follow(tensor: Any, before: Any) -> None:
    """After a change in place, ``.grad`` is to be that of the new value (as in PyTorch).

    Hooks stay with the value that they were registered on.
    """
    if before is not None and before.prim is HOOK and tensor.node is not None:
        functions = before.params["functions"]
        if RETAIN in functions and functions[RETAIN]() is tensor:
            del functions[RETAIN]
            retain(tensor)


def added(before: Tracked, dx: Any, recorded: bool) -> Any:
    """The sum of two gradients; it stays in the graph if the sweep was recorded."""
    if recorded:
        return before + dx
    value = dx.value if isinstance(dx, Tracked) and dx.level == 0 else dx
    return tracked(before.__class__, before.value + value, 0, None)


def arrived(n: Leaf, dx: Any) -> None:
    """An error if a gradient has not the shape of its variable."""
    if dx.shape != n.aval.shape:
        raise RuleError(f"a gradient of shape {dx.shape} arrived at a variable of shape "
                        f"{n.aval.shape}: the vjp of a row between is wrong, and ad.check finds it")


def accumulate(leaves: dict[Leaf, Any], recorded: bool, seed: Any, cls: type[Tracked]) -> None:
    """Add each cotangent to the gradient of its leaf's owner; no two gradients share memory.

    All hooks run before the first addition: an error in one leaves every ``.grad`` as it was.
    """
    arrivals = list[tuple[Any, Any]]()
    for n, dx in leaves.items():
        owner = n.owner() if n.owner is not None else None
        if owner is None:
            continue
        if dx.shape != n.aval.shape:
            arrived(n, dx)
        if n.hooks:
            for hook in of(n):
                dx = hook(dx)
        arrivals.append((owner, conjugate(dx) if n.aval.dtype.kind == "c" else dx))
    given = {id(seed.value if isinstance(seed, Box) else seed)}
    with ADDING:
        for owner, dx in arrivals:
            before = owner.grad
            if before is None:
                owner._gradient = apart(dx, cls, recorded, given)
            else:
                owner._gradient = added(before, dx, recorded)


class GradFn:
    """The recorded operation behind a tensor: its name, and the operations behind it."""

    __slots__ = ("node",)

    def __init__(self, n: Node) -> None:
        self.node = behind(n)

    @property
    def name(self) -> str:
        """The name of the row."""
        return self.node.prim.name

    @property
    def next_functions(self) -> tuple[GradFn, ...]:
        """The operations that made the inputs."""
        return tuple(GradFn(i) for i in self.node.inputs or () if i.inputs)

    def __repr__(self) -> str:
        return f"<{self.name}>"
