"""The products of the BLAS that SciPy brings: where its functions are, and when they are used.

SciPy hands out C pointers to them (``scipy.linalg.cython_blas``), so machine code calls them as it
calls any function. They are used from the size on that `calibration.prepare` has measured; inside
`generated` never, because their sums may depend on the number of their threads.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from adjoint.modes import DETERMINISTIC

if TYPE_CHECKING:
    from collections.abc import Generator

SYMBOLS = {"float32": "adjoint_sgemm", "float64": "adjoint_dgemm"}
NEVER = float("inf")
# What SciPy says of the function in C: 32-bit integers by pointer.
PARAMETERS = "void (char *, char *, int *, int *, int *"

# For a dtype and the bytes of a vector: the side of the square product from which on it is used.
limits: dict[tuple[str, int], float] = {}
only_generated = ContextVar("only_generated", default=False)


@contextmanager
def generated() -> Generator[None]:
    """Programs that are compiled inside use no BLAS: the same bits on every number of threads.

    >>> from adjoint.compiler.blas import generated, limit
    >>> with generated():
    ...     print(limit("float32", 64))
    inf
    """
    token = only_generated.set(True)
    try:
        yield
    finally:
        only_generated.reset(token)


def limit(dtype: str, vector_bytes: int) -> float:
    """The side of the square product from which on BLAS is used; infinite if it is not."""
    return NEVER if is_never() else limits.get((dtype, vector_bytes), NEVER)


def is_never() -> bool:
    """Whether programs that are compiled now use no BLAS."""
    return only_generated.get() or DETERMINISTIC.get()


@cache
def address(symbol: str) -> int:
    """The address of a function by our name for it; 0 if this SciPy has none that we can call."""
    names = {ours: ours.removeprefix("adjoint_") for ours in SYMBOLS.values()}
    if symbol not in names:
        return 0
    try:
        capsules = import_module("scipy.linalg.cython_blas").__pyx_capi__
    except (ImportError, AttributeError):
        return 0
    capsule = capsules.get(names[symbol])
    name_of, pointer_of = (getattr(ctypes.pythonapi, f"PyCapsule_Get{what}")
                           for what in ("Name", "Pointer"))
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    if capsule is None or not (name := name_of(capsule)).decode().startswith(PARAMETERS):
        return 0
    return pointer_of(capsule, name) or 0
