"""The places inside one value: of a container, a function, a class or an object."""

from __future__ import annotations

import dis
import functools
import gc
import importlib.util
import sys
import threading
import types
import weakref
from collections import deque
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adjoint.tensors import Tensor

from .places import Attribute, Called, Passing, Place, space_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .places import Reached

DESCRIPTORS = (property, staticmethod, classmethod, functools.cached_property)
LIBRARIES = {"numpy", "scipy", "optree", "math", "functools", "itertools", "builtins",
             "collections", "typing", "weakref", "contextvars", "threading", "_thread"}
CLOSED = {*LIBRARIES, *sys.stdlib_module_names, "adjoint"}  # their code reads nothing of the user's
INSTALLED = {"site-packages", "dist-packages"}  # folders
SILENT = {"typing", "threading", "logging", "warnings", "concurrent", "asyncio", "multiprocessing",
          "unittest", "io", "_io"}  # what their objects hold decides no value
CODE = (types.CodeType, types.FrameType, types.TracebackType)
CONTENT = Attribute("cell_contents")
DYNAMIC = {"getattr", "hasattr", "vars", "__dict__", "dir", "attrgetter", "globals"}
WEAK = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)
IMPORT = dis.opmap["IMPORT_NAME"]


def inside(value: Any, found: Reached) -> Iterator[Place]:
    """The places inside a container, a function or an object."""
    if isinstance(value, types.ModuleType):
        if not is_closed(value.__name__.partition(".")[0]):
            found.spaces.append(value)
    elif isinstance(value, type):
        yield from of_class(value, found)
    elif isinstance(value, types.MethodType):
        yield from passing(value.__func__, value.__self__)
    elif isinstance(value, types.BuiltinFunctionType):  # a method such as ``d.get``
        if not isinstance(value.__self__, (types.ModuleType, type, type(None))):
            yield from passing(value.__self__)
    elif isinstance(value, types.FunctionType):
        yield from of_function(value, found)
    else:
        yield from of_container(value, found)
        yield from of_object(value, found)


def passing(*values: Any) -> Iterator[Place]:
    """Values that stand at no place of their own."""
    return (Place(Passing([x]), 0) for x in values)


def of_container(value: Any, found: Reached) -> Iterator[Place]:
    """What a container or a reference holds."""
    if isinstance(value, dict):
        found.containers.append(value)
        if len(value) > 1:
            found.orders.append((value, (*value,)))
        yield from (Place(value, k) for k in value)
        yield from passing(*[k for k in value if isinstance(k, Tensor)])
    elif isinstance(value, (list, deque)):
        found.containers.append(value)
        yield from (Place(value, k) for k in range(len(value)))
    elif isinstance(value, (set, frozenset)):
        if isinstance(value, set):
            found.containers.append(value)
        yield from passing(*value)
    elif isinstance(value, functools.partial):
        yield from passing(value.func)
        yield Place(value, Attribute("args"))
        yield from (Place(value.keywords, k) for k in value.keywords)
    elif isinstance(value, weakref.WeakMethod):
        yield from passing(value())
    elif isinstance(value, weakref.ref):
        yield Place(value, Called("__call__"))
    elif isinstance(value, ContextVar):
        yield Place(value, Called("get"))
    elif type(value).__module__ in LIBRARIES and not own(value) and not isinstance(value, CODE):
        yield from passing(*[x for x in gc.get_referents(value) if not isinstance(x, type)])


def of_function(f: types.FunctionType, found: Reached) -> Iterator[Place]:
    """Closure cells, the globals that the code names, defaults, and attributes.

    Functions of a library have no globals that a user changes, but cells: `ad.grad(f)` has f there.
    """
    ours = is_library(f)
    yield from (Place(Passing([cell.cell_contents]), 0) if ours else Place(cell, CONTENT)
                for cell in f.__closure__ or () if not ours or filled(cell))
    if not ours:
        names, looked_up = f.__globals__, names_of(f.__code__)
        found.texts |= texts_of(f.__code__)
        found.names |= looked_up
        looked_up |= found.texts if "globals" in looked_up else set()
        yield from (Place(names, name) for name in sorted(looked_up) if name in names)
        import_named(f, found)
        found.same.append((Place(f, Attribute("__code__")), f.__code__))  # as a reloader changes it
        found.containers.append(vars(f))
        yield from (Place(vars(f), k) for k in vars(f))
    if f.__defaults__:
        yield Place(f, Attribute("__defaults__"))
    if f.__kwdefaults__:
        found.same.append((Place(f, Attribute("__kwdefaults__")), f.__kwdefaults__))
        yield from (Place(f.__kwdefaults__, k) for k in f.__kwdefaults__)


def import_named(f: types.FunctionType, found: Reached) -> None:
    """Note the modules that a function imports when it runs: what it names there is reached."""
    for code in codes_of(f.__code__):
        if IMPORT not in code.co_code[::2]:
            continue
        for i in dis.get_instructions(code):
            if i.opcode != IMPORT or is_closed(i.argval.partition(".")[0]):
                continue
            package = str(f.__globals__.get("__package__") or "")
            names = [i.argval, i.argval.partition(".")[0]]
            if not isinstance(sys.modules.get(names[0]), types.ModuleType) and package:
                names.append(importlib.util.resolve_name("." + i.argval, package))
            there = [sys.modules[n] for n in names if n in sys.modules]
            found.spaces += there
            if not there:
                found.modules |= {*names}


def of_object(value: Any, found: Reached) -> Iterator[Place]:
    """The attributes of an object, and the functions of its class."""
    cls, attributes = type(value), own(value)
    if attributes and "__jitted__" in attributes:  # of its own cache nothing matters
        yield from passing(attributes["__jitted__"])
        return
    if isinstance(value, threading.local):  # each thread has its own
        yield Place(value, Attribute("__dict__"))
    elif root(cls) in SILENT:
        return
    elif attributes is not None:
        found.containers.append(attributes)
        found.attributes.append(attributes)
        if is_closed(root(cls)):
            own_affairs(value, attributes, found)
        yield from (Place(attributes, k) for k in attributes)
    if root(cls) not in LIBRARIES:
        found.classes.append((value, cls))
        yield from passing(cls)
    for c in cls.__mro__:
        slots: Any = vars(c).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            place = Place(value, Attribute(mangled(name, c)))
            if name not in {"__dict__", "__weakref__"} and root(c) != "adjoint" and (
                    not is_closed(root(c)) or not place.is_missing()):  # a library's caches
                yield place


def own_affairs(value: Any, attributes: dict[str, Any], found: Reached) -> None:
    """Note what a library keeps for itself in its objects, where a change says nothing.

    These are private attributes, such as caches, and whatever stands in weak dictionaries.
    """
    found.quiet[id(attributes)] = attributes
    weak = isinstance(value, WEAK)
    found.quiet |= {id(v): v for k, v in attributes.items() if weak or k.startswith("_")}


def own(value: Any) -> dict[str, Any] | None:
    """The dictionary of an object's attributes, past what its class says of unknown ones."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def mangled(name: str, cls: type) -> str:
    """The name of an attribute of a class that begins with two underscores, as Python has it."""
    return f"_{cls.__name__.lstrip('_')}{name}" if (
        name.startswith("__") and not name.endswith("__")) else name


def of_class(cls: type, found: Reached) -> Iterator[Place]:
    """The functions of a user's class and its bases; attributes are found by name, at the end."""
    if not is_closed(root(type(cls))):
        yield from passing(type(cls))
    for c in cls.__mro__:
        if is_closed(root(c)):
            continue
        if c is not cls:
            yield from passing(c)
            continue
        space = space_of(c)
        found.spaces.append(c)
        found.sizes.append((space, len(space)))
        for v in space.values():
            yield from passing(*functions_in(v))


def functions_in(v: Any) -> list[Any]:
    """The functions behind an attribute of a class."""
    if isinstance(v, DESCRIPTORS):
        names = ("__func__", "fget", "fset", "fdel", "func")
        return [f for name in names if (f := getattr(v, name, None)) is not None]
    return [v] if isinstance(v, types.FunctionType) else []


def named_there(found: Reached, asked: set[tuple[int, str]]) -> Iterator[Place]:
    """What modules and classes of the user's have under names in the code, each once.

    Where code may make up names, whatever a class has, and what text of the code a module has.
    """
    dynamic = bool(found.names & DYNAMIC)
    names = found.names | found.texts if dynamic else found.names
    for space in found.spaces:
        is_class = isinstance(space, type)
        there: Any = space_of(space) if is_class else vars(space)
        special = [k for k, v in there.items() if is_class and (
            dynamic or (isinstance(v, types.FunctionType) and k.startswith("__")))]
        for name in sorted({*special, *(names & there.keys())}):
            if (id(space), name) in asked:
                continue
            asked.add((id(space), name))
            value = there[name]
            if is_class and hasattr(type(value), "__get__"):
                found.same.append((Place(there, name), value))
                yield from passing(*(() if functions_in(value) else (value,)))
            elif not name.startswith("__"):
                if not is_class:
                    yield Place(there, name)
                elif getattr(space, name, None) is value:  # an Enum hides some of its own
                    yield Place(space, Attribute(name))


def root(value: Any) -> str:
    """The package that a function or class comes from."""
    name = getattr(value, "__module__", None)
    return name.partition(".")[0] if isinstance(name, str) else ""


def is_library(f: types.FunctionType) -> bool:
    """Whether a function is written in a library; `functools.wraps` gives it the user's module."""
    return is_closed(str(f.__globals__.get("__name__", "")).partition(".")[0])


@functools.cache
def is_closed(package: str) -> bool:
    """Whether the code of a package reads nothing of the user's: the standard library, NumPy, ...

    Also what is installed and has nothing of adjoint in its modules: jax or pandas would be ten
    thousands of places, looked at before each call.
    """
    module = sys.modules.get(package)
    if package in CLOSED or module is None:
        return package in CLOSED
    paths = [*getattr(module, "__path__", ()), str(getattr(module, "__file__", None) or "")]
    if not any(INSTALLED.intersection(Path(p).parts) for p in paths):
        return False
    own = [m for name, m in [*sys.modules.items()] if name.partition(".")[0] == package]
    return not any(root(v) == "adjoint" or (isinstance(v, types.ModuleType) and (
        v.__name__.partition(".")[0] == "adjoint")) for m in own for v in [*vars(m).values()])


def filled(cell: Any) -> bool:
    """Whether a cell has a content yet."""
    return cell != types.CellType()


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object, and those of the functions inside it."""
    yield code
    for c in code.co_consts:
        if isinstance(c, types.CodeType):
            yield from codes_of(c)


def names_of(code: types.CodeType) -> set[str]:
    """The names that a code object, and the functions inside it, may look up."""
    return {name for c in codes_of(code) for name in c.co_names}


def texts_of(code: types.CodeType) -> set[str]:
    """The constants of code that could be names."""
    return {x for c in codes_of(code) for x in c.co_consts
            if isinstance(x, str) and x.isidentifier()}
