"""How a Program runs: as machine code, or by NumPy where that cannot be.

``ADJOINT_JIT=off`` in the environment lets NumPy run it, and so does a machine for which no machine
code can be made: without llvmlite, or of a kind that is not known. That is said once.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import CompileWarning, MissingPackageError, UnsupportedError

from . import native as machine
from .call import direct
from .ready import executable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .program import Program


class Executable:
    """A Program made ready: called with the inputs, it gives the outputs as NumPy's functions do.

    ``compiled`` is None where NumPy runs it. A program that is called again gets a builtin.
    ``make`` gives the Program, and ``text`` tells it before it is made (`ready.executable`).
    """

    def __init__(self, make: Callable[[], Program], text: Callable[[], str]) -> None:
        self.compiled = compiled(make, text()) if native() else None
        self.run: Callable[..., list[Any]] = self.compiled or make()
        self.direct: Callable[..., Any] = self.first

    def __call__(self, *values: Any) -> list[Any]:
        """The outputs; those without axes as NumPy scalars."""
        return list(self.direct(*values))

    def first(self, *values: Any) -> list[Any]:
        """The first call, which may be the only one."""
        self.direct = self.second
        return self.general(*values)

    def second(self, *values: Any) -> Any:
        """The second call, and there may be more."""
        self.direct = direct(self.compiled, self.general) if self.compiled else self.general
        return self.direct(*values)

    def general(self, *values: Any) -> list[Any]:
        """Run it on whatever NumPy takes as arrays; each output has memory of its own."""
        seen = {id(v) for v in values}
        found: list[Any] = []
        for y in self.run(*values):
            if not isinstance(y, tuple):
                shared = id(y) in seen or y.base is not None
                y = (y.copy() if shared else y) if np.ndim(y) else y[()]
            seen.add(id(y))
            found.append(y)
        return found


def native() -> bool:
    """Whether programs become machine code here."""
    return os.environ.get("ADJOINT_JIT", "on").lower() not in {"off", "0", "no"} and available()


@cache
def available() -> bool:
    """Whether machine code can be made here; if not, that is said once."""
    try:
        machine.host()
    except (MissingPackageError, UnsupportedError) as e:
        said(str(e).partition("\n")[0])  # without the line that was being run
        return False
    return True


def compiled(make: Callable[[], Program], text: str) -> Any:
    """The Program as machine code; None if this machine lacks what it needs, which is said once."""
    try:
        return executable(make, text)
    except UnsupportedError as e:
        said(str(e).partition("\n")[0])  # without the line that was being run
        return None


@cache
def said(why: str) -> None:
    """Warn that NumPy runs what was traced: once for each reason."""
    warnings.warn("ad.jit: NumPy runs what was traced, with the same results but slower, because "
                  f"of this: {why}", CompileWarning, stacklevel=2)
