"""Hooks: a function of the user's that sees, and may replace, the gradient of a tensor on its way back.

For a leaf they hang on the Node and run when its whole gradient is known. For a result its Node steps aside: a copy of
it takes its place in time, and the Node itself, which later operations already refer to, becomes the identity row
``hook`` on that copy, whose vjp calls the functions. Recording and sweeping without hooks cost nothing more.
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
    "hook", lambda x, functions: x, aval=lambda x, functions: aval(x.shape, x.dtype), vjp=_back,
    jvp=lambda dxs, y, x, functions: dxs[0], label=Label("{0}", "{0}", ("1",), "hook"), effects="callback")


class Handle:
    """A registered hook; ``remove()`` takes it away."""

    def __init__(self, remove: Callable[[], Any]) -> None:
        self.remove = remove


def attach(tensor: Any, hook: Callable[[Any], Any]) -> Handle:
    """Register ``hook`` on the Node of ``tensor``."""
    n = tensor.node
    if isinstance(n, Leaf):
        n.hooks = (*n.hooks, hook)

        def remove() -> None:
            n.hooks = tuple(h for h in n.hooks if h is not hook)
        return Handle(remove)
    if n.prim is not HOOK:
        step_aside(n)
    functions, number = n.params["functions"], next(numbers)
    functions[number] = hook
    return Handle(lambda: functions.pop(number, None))


def step_aside(n: Node) -> None:
    """Make ``n`` the identity on a copy of itself that stands just before it."""
    before = new(Node)
    for slot in Node.__slots__:
        setattr(before, slot, getattr(n, slot))
    n.prim, n.inputs, n.params, n.index = HOOK, (before,), {"functions": {}}, before.index + 0.5


def behind(n: Node) -> Node:
    """The operation that a hook stands before."""
    return n.inputs[0] if n.prim is HOOK and n.inputs else n


def keep(owner: Callable[[], Any], dy: Any) -> Any:
    """`retain_grad`: add the gradient to that of its tensor, if it is still there."""
    tensor = owner()
    if tensor is not None:
        before = tensor.grad
        tensor.grad = dy if before is None else before + dy
    return dy
