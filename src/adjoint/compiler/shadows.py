"""Tensors that hold Symbols for the thread that traces, and their values for every other thread.

`adopt` gives a tensor a class of its own, whose ``value``, ``aval``, ``node`` and gradient are, in
the tracing thread, those of a `Shadow`. The tensor itself is never written to, so whoever else uses
it meanwhile reads and writes what it really holds, and no other tensor is slower for that.
"""

from __future__ import annotations

from functools import cache
from threading import get_ident
from typing import Any, cast

from adjoint.tensors import Tensor

NAMES = ("value", "aval", "node", "_gradient")
CLASS: Any = vars(object)["__class__"]  # the real one, which `shadowed` hides


class Tracer:
    """Which thread is tracing, and what the tensors that it has met hold for it."""

    thread = 0
    shadows: dict[int, dict[str, Any]]


tracer = Tracer()
tracer.shadows = {}


class Tracing:
    """A block in which this thread traces; only one does at a time (`tracing.LOCK`)."""

    def __enter__(self) -> None:
        self.before, tracer.thread = tracer.thread, get_ident()

    def __exit__(self, *_: object) -> None:
        tracer.thread = self.before
        if not self.before:  # whatever interrupts `release` now, nobody sees a Symbol any more
            tracer.shadows = {}


def adopted(t: Tensor) -> bool:
    """Whether a tensor has a shadow."""
    return id(t) in tracer.shadows


def adopt(t: Tensor) -> None:
    """Let the tracing thread read and write a shadow of a tensor."""
    tracer.shadows[id(t)] = {name: getattr(t, name, None) for name in NAMES}
    CLASS.__set__(t, shadowed(t.__class__))


def release(t: Tensor) -> None:
    """Let a tensor be as it is for the others."""
    CLASS.__set__(t, t.__class__)
    tracer.shadows.pop(id(t), None)


@cache
def shadowed(cls: type[Tensor]) -> type[Tensor]:
    """The class of the adopted tensors of a class; their ``__class__`` tells that one."""
    space = {name: seen_by_thread(name, getattr(cls, name)) for name in NAMES}
    space |= {"__slots__": (), "__class__": property(lambda _: cls), "__doc__": cls.__doc__,
              "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return cast("type[Tensor]", type(cls.__name__, (cls,), space))


def seen_by_thread(name: str, slot: Any) -> property:
    """A slot of which the tracing thread sees the shadow's."""
    def get(t: Any) -> Any:
        if tracer.thread == get_ident() and (shadow := tracer.shadows.get(id(t))) is not None:
            return shadow[name]
        return slot.__get__(t)

    def put(t: Any, value: Any) -> None:
        if tracer.thread == get_ident() and (shadow := tracer.shadows.get(id(t))) is not None:
            shadow[name] = value
        else:
            slot.__set__(t, value)
    return property(get, put)
