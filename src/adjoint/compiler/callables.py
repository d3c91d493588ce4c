"""Function objects with attributes and methods, whose calls go straight to machine code.

A class with ``__call__`` costs a tuple of arguments and a look-up at each call. `kind` makes a
subclass of it whose objects have a field with a C function, to which CPython hands the arguments as
they lie on its stack ("vectorcall"). CPython 3.11 knows no such field in a class that Python makes,
so this one is made from a description, as C modules make theirs, with what is public there.

The field is empty at first: then CPython calls ``__call__``, as of any other class. `serve` fills
it with one function for all, ``serve`` in `arrays_ir`, which calls the machine code that an object
refers to, and holds it meanwhile: another thread, or the call itself, may put another one there.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Any

from .abi import COUNT, ENTRY, abi, address, slot_offset, word
from .call import frame_of, helpers

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = ("_entry",)  # the ``__slots__`` of a class that `kind` is given
VECTORCALL, DICTIONARY, WEAK = ENTRY + COUNT, ENTRY + 2 * COUNT, ENTRY + 3 * COUNT
SIZE = ENTRY + 4 * COUNT  # of an object: its entry, these three, and what every object has
HAVE_VECTORCALL, HAVE_COLLECTION = 1 << 11, 1 << 14  # among the flags of a type
SIZED, READ_ONLY = 19, 1  # of a member: a number of type Py_ssize_t
ACCESS, MEMBERS = 73, 72  # the slots of a type: functions of attributes, members

entries: dict[type, Any] = {}  # of the classes made here: the descriptor of an object's entry
kept: list[Any] = []  # what descriptions refer to, as long as the process lives


class Member(ctypes.Structure):
    """PyMemberDef."""

    _fields_ = (("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t),
                ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


class Access(ctypes.Structure):
    """PyGetSetDef."""

    _fields_ = (("name", ctypes.c_char_p), ("get", ctypes.c_void_p), ("set", ctypes.c_void_p),
                ("doc", ctypes.c_char_p), ("closure", ctypes.c_void_p))


class Slot(ctypes.Structure):
    """PyType_Slot."""

    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class Description(ctypes.Structure):
    """PyType_Spec."""

    _fields_ = (("name", ctypes.c_char_p), ("size", ctypes.c_int), ("item_size", ctypes.c_int),
                ("flags", ctypes.c_uint), ("slots", ctypes.POINTER(Slot)))


@functools.cache
def kind(cls: type) -> Any:
    """The subclass of which objects are made: as described above, or as Python makes it.

    ``cls`` defines ``__call__``, and ``__slots__ = ENTRIES``, so that nothing else stands where
    the fields are; objects have attributes all the same.
    """
    if abi() is not None and as_expected(cls):
        try:
            made = described(cls)
        except (AttributeError, SystemError, TypeError, ValueError):
            made = None
        if made is not None and has_fields(made):
            made.__doc__ = cls.__doc__
            # Objects refer to machine code by it: nobody else puts anything there.
            entries[made] = vars(cls)[ENTRIES[0]]
            delattr(cls, ENTRIES[0])
            return made
    return plain(cls)


def plain(cls: type) -> type:
    """The subclass as Python makes it."""
    return type(cls.__name__, (cls,), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def as_expected(cls: type) -> bool:
    """Whether objects of a class have an entry, and nothing else."""
    return (type(cls) is type and cls.__bases__ == (object,) and cls.__itemsize__ == 0
            and cls.__basicsize__ == ENTRY + COUNT and slot_offset(cls, ENTRIES[0]) == ENTRY
            and cls.__dictoffset__ == cls.__weakrefoffset__ == 0
            and bool(cls.__flags__ & HAVE_COLLECTION))


def described(cls: type) -> type:
    """The class with the fields. What collects and ends its objects is inherited."""
    offsets = {b"__vectorcalloffset__": VECTORCALL, b"__dictoffset__": DICTIONARY,
               b"__weaklistoffset__": WEAK}
    members = (Member * (len(offsets) + 1))(*[
        (name, SIZED, offset, READ_ONLY, None) for name, offset in offsets.items()])
    access = (Access * 2)((b"__dict__", address(ctypes.pythonapi.PyObject_GenericGetDict),
                           address(ctypes.pythonapi.PyObject_GenericSetDict), None, None))
    slots = (Slot * 3)((MEMBERS, ctypes.addressof(members)), (ACCESS, ctypes.addressof(access)))
    name = f"{cls.__module__}.{cls.__name__}".encode()
    description = Description(name, SIZE, 0, HAVE_VECTORCALL, slots)
    kept.append([members, access, slots, name, description])
    make = ctypes.pythonapi.PyType_FromSpecWithBases
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object]
    return make(ctypes.addressof(description), (cls,))


def has_fields(made: type) -> bool:
    """Whether a class came out as it was described, and its objects begin with an empty field."""
    wanted = HAVE_VECTORCALL | HAVE_COLLECTION
    if (made.__flags__ & wanted, made.__basicsize__, made.__dictoffset__, made.__weakrefoffset__
            ) != (wanted, SIZE, DICTIONARY, WEAK):
        return False
    sample: Any = object.__new__(made)
    sample.note = made
    return not word(id(sample) + VECTORCALL) and not word(id(sample) + ENTRY) and (
        word(id(sample) + DICTIONARY) == id(sample.__dict__))


def serve(instance: Any, entry: Callable[..., Any]) -> None:
    """Let calls of ``instance`` go to ``entry`` from now on, where its class has the field.

    >>> from adjoint.compiler.callables import ENTRIES, kind, serve
    >>> class Noted:
    ...     __slots__ = ENTRIES
    ...     def __call__(self, *args):
    ...         return f"not served, {self.note}"
    >>> f = kind(Noted)()
    >>> f.note = "an attribute"
    >>> before = f(-3)
    >>> serve(f, abs)
    >>> before, f(-3), f.note
    ('not served, an attribute', 3, 'an attribute')
    """
    place = entries.get(type(instance))
    if place is not None:
        place.__set__(instance, frame_of(entry))
        field = ctypes.c_uint64.from_address(id(instance) + VECTORCALL)
        field.value = helpers().address("serve")
