"""Hooks: a user's function that sees, and may replace, the gradient of a tensor on its way back.

For a leaf they hang on the Node and run when its whole gradient is known. For a result its Node
steps aside: a copy of it takes its place in time, and the Node itself, which later operations
already refer to, becomes the identity row ``hook`` on that copy, whose vjp calls the functions.
Recording and sweeping without hooks cost nothing more.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from adjoint.core.node import Leaf, Node, aval, new
from adjoint.core.primitive import Label, Primitive

if TYPE_CHECKING:
    from collections.abc import Callable

numbers = itertools.count()


def _back(dy: Any, y: Any, x: Any, needs: Any, functions: dict[int, Any]) -> tuple[Any]:
    for f in list(functions.values()):
        dy = f(dy)
    return (dy,)


HOOK = Primitive(
    "hook", lambda x, functions: x, vjp=_back, jvp=lambda dxs, y, x, functions: dxs[0],
    aval=lambda x, functions: aval(x.shape, x.dtype),
    batch=lambda size, axes, x, functions: (x, axes[0]), lower=lambda b, x, functions: x,
    label=Label("{0}", "{0}", ("1",), "hook"), effects="callback")


class Handle:
    """A registered hook; ``remove()`` takes it away."""

    def __init__(self, functions: dict[int, Any], number: int) -> None:
        self.functions, self.number = functions, number

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self.functions.pop(self.number, None)


def attach(tensor: Any, hook: Callable[[Any], Any]) -> Handle:
    """Register ``hook`` on the Node of ``tensor``."""
    n: Any = tensor.node
    functions: Any
    if isinstance(n, Leaf):
        if n.hooks == ():  # a dict, shared by the Nodes that this leaf gets in updates in place
            setattr(n, "hooks", {})  # noqa: B010 - core declares a tuple: no hooks
        functions = n.hooks
    else:
        if n.prim is not HOOK:
            step_aside(n)
        functions = n.params["functions"]
    number = next(numbers)
    functions[number] = hook
    return Handle(functions, number)


def of(n: Any) -> list[Any]:
    """The hooks of a leaf."""
    return list(n.hooks.values()) if n.hooks else []


def step_aside(n: Node) -> None:
    """Make ``n`` the identity on a copy of itself that stands just before it."""
    before = new(Node)
    for slot in Node.__slots__:
        setattr(before, slot, getattr(n, slot))
    n.prim, n.inputs, n.params = HOOK, (before,), {"functions": {}}
    n.index = before.index + 0.5


def behind(n: Node) -> Node:
    """The operation that a hook stands before."""
    return n.inputs[0] if n.prim is HOOK and n.inputs else n


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
