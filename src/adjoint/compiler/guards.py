"""What machine code asks before a version runs: where what is reached stands, and what must hold.

`native_guards` are those of `plans.Text.check`, for `call.entry`.
"""

from __future__ import annotations

from types import CellType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import Leaf as LeafNode
from adjoint.core.node import aval_of
from adjoint.tensors import Tensor

from .places import Attribute, Passing, tells
from .sources import Attribute as Named
from .sources import Cell, Element, Guard, Held, Item, Slot

if TYPE_CHECKING:
    from collections.abc import Collection

    from .places import Place
    from .tracing import Source as From
    from .tracing import Tracing


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


def native_guards(tracing: Tracing, rebound: dict[int, Place],
                  used: Collection[Any]) -> list[Any] | None:
    """The guards of a version as machine code asks them; None if there is one that it cannot ask.

    They are those of `plans.Text.check`; arrays and numbers are tested where they are read, and
    here those that no operation has ``used``.
    """
    found, guards = tracing.found, list[Any]()
    if len(found.arrays) > len({id(p.get()) for p in found.arrays}):
        return None
    asked: list[tuple[Any, Any, Any]] = [(p, v, "is") for p, v in found.same
                                         if rebound.get(id(v)) != p]
    asked += [(p, v, "is" if v is None or isinstance(v, bool) else "==") for p, v in found.equal]
    if any(isinstance(v, np.ndarray) for _, v in tracing.capture.fixed) or any(
            not isinstance(p.holder, Passing) for p in found.missing):
        return None
    asked += [(p, v, "==") for p, v in tracing.capture.fixed]
    asked += [(p, (type(p.get()), n), "len") for p, n in found.lengths]
    asked += [unread(n, s.owner) for n, s in tracing.capture.sources.items()
              if s.what == "place" and n not in used]
    asked += [(p.place, tracing.capture.relied[p.start], "==") for p in tracing.capture.placed
              if tracing.capture.relied.get(p.start) is not None]
    for place, value, _ in found.contents:
        if not of_texts(value):
            return None
        asked.append((place, value.copy(), "=="))
    for place, value, how in asked:
        if isinstance(place.holder, Passing):
            continue
        source = place_source(place)
        if source is None or (how == "==" and isinstance(value, np.inexact) and not tells(value)):
            return None
        guards.append(Guard(source, value, how))
    guards += [Guard(Held(x), c, "type") for x, c in found.classes]
    guards += [Guard(Held(d), (dict, n), "len") for d, n in found.sizes]
    for c in found.containers:
        if isinstance(c, set) and of_texts(c):
            continue
        if type(c) not in (list, dict):
            return None
        guards.append(Guard(Held(c), (type(c), len(c)), "len"))
    guards += [Guard(Held(c), keys, "keys") for c, keys in found.orders]
    for kept in tracing.capture.held.values():
        more = tensor_guards(tracing, kept, rebound)
        if more is None:
            return None
        guards += more
    return guards


def of_texts(value: Any) -> bool:
    """Whether it is a set of texts, which two sets hold alike if they are equal."""
    return type(value) in (set, frozenset) and all(type(x) is str for x in value)


def unread(n: Any, place: Place) -> tuple[Place, Any, Any]:
    """What must hold of an array or a number that no operation reads."""
    value = place.get()
    return (place, n.aval, "array") if value.__class__ is np.ndarray else (
        place, type(value), "type")


def tensor_guards(tracing: Tracing, kept: Any, rebound: dict[int, Place]) -> list[Any] | None:
    """What must be as it was of one tensor: what is known of it, whether gradients are there."""
    t, value, n, grad, _, _ = kept
    if id(t) in tracing.capture.gradients:
        return []
    if isinstance(value, Box):
        return None
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
