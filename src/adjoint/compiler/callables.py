"""Function objects with attributes and methods, whose calls go straight to a builtin.

A class with ``__call__`` costs a tuple of arguments and a look-up at each call. `Quick` is a
`functools.partial` without arguments, which CPython calls without either (35 ns against 50, and 21
for the builtin itself). CPython 3.11 does so for its own class only, so the flag that says it is
set here, where `abi` knows the interpreter.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import TYPE_CHECKING, Any, Self

from .abi import abi, word

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORCALL = 1 << 11  # among the flags of a type: its instances are called without a tuple


class Quick(functools.partial[Any]):
    """A callable with attributes: ``Quick(f)(*args) = f(*args)``, where `callable_of` changes f.

    Subclasses define methods and attributes, and no ``__call__``.
    """

    served: list[Callable[..., Any]]

    def __new__(cls, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Self:
        """An instance that calls ``f``; a subclass's other arguments are for its ``__init__``."""
        self = super().__new__(cls, f)
        # Also so that a partial of this one calls it, and not past it what it calls now.
        self.served = [f]
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        quicken(cls)

    def __reduce__(self) -> Any:
        """Machine code is of this process, so a subclass says what it is made from."""
        raise TypeError(f"cannot pickle {type(self).__name__}; pickle the function instead")


def quicken(cls: type) -> None:
    """Let CPython call instances of a subclass of partial as it calls partials."""
    if cls.__call__ is not functools.partial.__call__ or sys.version_info >= (3, 12):
        return
    place = flags_offset()
    if place and abi() is not None:
        ctypes.c_ulong.from_address(id(cls) + place).value |= VECTORCALL


@functools.cache
def flags_offset() -> int:
    """Where a type has its flags; 0 if they are not found in one place for several types."""
    types: list[Any] = [functools.partial, Quick, int, dict, BaseException]
    for offset in range(8 * 8, object.__sizeof__(type), 8):
        if all(word(id(t) + offset) == t.__flags__ for t in types):
            return offset
    return 0


def callable_of(entry: Callable[..., Any], instance: Quick) -> Quick:
    """``instance``, whose calls go to ``entry`` from now on.

    What it called before stays alive with it: another thread may be inside.

    >>> from adjoint.compiler.callables import Quick, callable_of
    >>> f = Quick(abs)
    >>> f.note = "an attribute"
    >>> f(-3), callable_of(str, f)(-3), f.note
    (3, '-3', 'an attribute')
    """
    instance.served.append(entry)
    state: Any = instance  # whose stubs do not know how a copy of it is made
    state.__setstate__((entry, (), {}, instance.__dict__))
    return instance


quicken(Quick)
