"""Where Python and NumPy keep what a native call reads, each offset tested on real objects.

`abi` gives the addresses of the C functions that trampolines call, or None where anything is not
as expected: another interpreter, no GIL, another version of NumPy's binary interface.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
import weakref
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from .text import TYPES

OLDEST, NEWEST = (3, 11), (3, 14)  # the versions of Python that are known

# Bytes from the start of an object, in every CPython that is tested here.
CLASS, CONTENTS = 8, 16  # the type; what a float, a NumPy scalar or a closure cell holds
LENGTH, LIST_ITEMS = 16, 24
TUPLE_ITEMS = 24  # where a tuple has nothing but its length before them; see `tuple_items`
ENTRY, COUNT = 16, 8  # what an object of `callables` refers to; the bytes of a pointer
DATA, RANK, SHAPE, BASE, DESCR, FLAGS, WEAK = 16, 24, 32, 48, 56, 64, 72  # of an ndarray
KIND = 24  # of a dtype: eight bytes that say kind, character, byte order and number
KIND_MASK = ~(0xFF << 24) & (2**64 - 1)  # without the fourth byte, which means nothing
MEMBER, MEMBER_OFFSET = 40, 16  # of the descriptor of a slot, and of what it points to
C_ORDER, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400
BINARY_VERSION = 0x02000000  # of NumPy's C interface: all of NumPy 2
NEW_FROM_DESCR = 94  # its place in NumPy's table of functions, which never changes

PYTHON = ("PyContextVar_Get", "PyDict_GetItemWithError", "PyDict_New", "PyDict_Next",
          "PyDict_SetItem",
          "PyErr_Clear", "PyEval_RestoreThread", "PyEval_SaveThread", "PyFloat_FromDouble",
          "PyList_New", "PyLong_AsLongLongAndOverflow", "PyLong_FromLongLong",
          "PyObject_CallNoArgs", "PyObject_CallOneArg", "PyObject_GetAttr",
          "PyObject_RichCompareBool", "PyObject_Vectorcall", "PyTuple_New", "PyType_GenericAlloc",
          "Py_DecRef", "Py_IncRef")


class Abi(NamedTuple):
    """Addresses of C functions by name, and the offset of a tuple's items."""

    functions: dict[str, int]
    tuple_items: int


def word(address: int) -> int:
    """The 64 bits at an address."""
    return ctypes.c_uint64.from_address(address).value


def half(address: int) -> int:
    """The 32 bits at an address."""
    return ctypes.c_uint32.from_address(address).value


def address(function: Any) -> int:
    """The address of a function of ctypes."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@cache
def abi() -> Abi | None:
    """What trampolines rely on; None where it is not as expected."""
    # The tests below follow pointers, which an unknown layout could lead anywhere.
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return None
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    table = numpy_table()
    if table is None or not all(fits() for fits in TESTS):
        return None
    functions = {name: address(getattr(ctypes.pythonapi, name))
                 for name in PYTHON if hasattr(ctypes.pythonapi, name)}
    if len(functions) < len(PYTHON) or not tuple_items():
        return None
    return Abi({**functions, **table}, tuple_items())


def numpy_table() -> dict[str, int] | None:
    """NumPy's C functions, if its binary version is the known one."""
    table = numpy_functions()
    if not table or numpy_version() != BINARY_VERSION or word(table + 2 * 8) != id(np.ndarray):
        return None
    return {"PyArray_NewFromDescr": word(table + 8 * NEW_FROM_DESCR)}


def numpy_functions() -> int:
    """The address of the table of NumPy's C functions; 0 if it is not found."""
    try:
        capsule = import_module("numpy._core._multiarray_umath")._ARRAY_API
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        return pointer(capsule, None) or 0
    except (ImportError, AttributeError, ValueError):
        return 0


def numpy_version() -> int:
    """The version of NumPy's binary interface, which its first C function tells; 0 if unknown."""
    table = numpy_functions()
    return ctypes.PYFUNCTYPE(ctypes.c_uint)(word(table))() if table else 0


# ---- tests on real objects

def arrays_fit() -> bool:
    """Arrays of several ranks, orders and dtypes have their parts where they are read."""
    samples: list[Any] = [np.empty(()), np.ones((2, 3), np.float32), np.zeros((4, 0)),
                          np.ones((2, 3))[:, ::2], np.asfortranarray(np.ones((2, 3))),
                          np.frombuffer(b"12345678", np.int8)]
    return all(array_fits(a) for a in samples)


def array_fits(a: Any) -> bool:
    """One array has its parts where they are read."""
    at, flags = id(a), half(id(a) + FLAGS)
    shape = [word(word(at + SHAPE) + 8 * k) for k in range(a.ndim)]
    before = word(at + WEAK)
    watch = weakref.ref(a)
    return (word(at + CLASS) == id(np.ndarray) and word(at + DATA) == a.ctypes.data
            and half(at + RANK) == a.ndim and shape == list(a.shape)
            and word(at + BASE) == (0 if a.base is None else id(a.base))
            and word(at + DESCR) == id(a.dtype)
            and bool(flags & C_ORDER) == a.flags.c_contiguous
            and bool(flags & ALIGNED) == a.flags.aligned
            and bool(flags & WRITEABLE) == a.flags.writeable
            and not before and word(at + WEAK) == id(watch))


def numbers_fit() -> bool:
    """A Python float and NumPy's scalars hold their bytes where they are read."""
    scalars: list[Any] = [np.ones(1, name)[0] for name in TYPES]
    held = [ctypes.string_at(id(s) + CONTENTS, s.itemsize) == s.tobytes() for s in scalars]
    number = 0.1
    return all(held) and ctypes.c_double.from_address(id(number) + CONTENTS).value == number


def references_fit() -> bool:
    """The first 32 bits of an object count who holds it."""
    held = np.empty(1)
    before = half(id(held))
    more = [held] * 3
    return half(id(held)) - before == len(more) and word(id(more)) < 2**32


def containers_fit() -> bool:
    """Containers say how long they are, and refer to what they hold, where it is read."""
    first, second = object(), object()
    items = [first, second]
    sized: list[Any] = [items, (1, 2, 3), {}, dict.fromkeys(range(99))]
    cell = (lambda: first).__closure__
    return (word(word(id(items) + LIST_ITEMS) + 8) == id(second) and cell is not None
            and word(id(cell[0]) + CONTENTS) == id(first)
            and all(word(id(x) + LENGTH) == len(x) for x in sized))


def dtypes_fit() -> bool:
    """The eight bytes that tell dtypes apart do so, and agree between equal ones."""
    names = [*TYPES, ">f8", "complex128", "datetime64", "int8"]
    found = {np.dtype(name): kind_of(np.dtype(name)) for name in names}
    return len({*found.values()}) == len(found) and 0 not in found.values()


TESTS = (arrays_fit, numbers_fit, references_fit, containers_fit, dtypes_fit)


def kind_of(dtype: Any) -> int:
    """The eight bytes of a dtype that say what it is."""
    return word(id(dtype) + KIND) & KIND_MASK


@cache
def tuple_items() -> int:
    """The offset of a tuple's first item; 0 if it is not found."""
    first, second = object(), object()
    pair = (first, second)
    for offset in range(16, 48, 8):
        if (word(id(pair) + offset), word(id(pair) + offset + 8)) == (id(first), id(second)):
            return offset
    return 0


def slot_offset(type_: type, name: str) -> int:
    """Where instances keep a member of ``__slots__``; 0 if it is no such member."""
    member = next((vars(c)[name] for c in type_.__mro__ if name in vars(c)), None)
    if type(member).__name__ != "member_descriptor":
        return 0
    return word(word(id(member) + MEMBER) + MEMBER_OFFSET)


@cache
def function_offset(name: str) -> int:
    """Where functions keep a part of themselves, if they have it; 0 if it is not found."""
    def first(x: int = 1, *, z: int = 0) -> int:
        return x + z

    def second(x: int = 2, y: int = 3, *, z: int = 1) -> int:
        return x + y + z
    for offset in range(CONTENTS, FunctionType.__basicsize__, 8):
        if all(word(id(f) + offset) == id(getattr(f, name)) for f in (first, second)):
            return offset
    return 0
