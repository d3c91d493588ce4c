"""A Compiled as a builtin function: CPython calls machine code, which checks and runs.

`entry` makes the function. What does not fit its program (another type, shape, number of arguments,
a failure) goes to the Python function ``slow`` with the same arguments. Start there; `Writing` says
in which order a trampoline is written, `trampoline` has the text, `sources` what may be asked for.

>>> from adjoint.compiler.call import entry
>>> from adjoint.compiler.compiled import Compiled
>>> from adjoint.compiler.program import ProgramBuilder
>>> from adjoint.compiler.sources import ARRAY, Argument, Input
>>> from adjoint.core.node import aval_of
>>> b = ProgramBuilder()
>>> x = b.input(aval_of(np.ones(3)))
>>> b.program.outputs = [b.elementwise("add", x, x).number]
>>> double = entry(Compiled(b.program), [Input(Argument(0))], [ARRAY], print, arguments=1)
>>> double(np.ones(3))
array([2., 2., 2.])
>>> double([1, 2])
[1, 2]
"""

from __future__ import annotations

import ctypes
from functools import cache, partial
from math import prod
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from adjoint.errors import RuleError

from . import pool
from .abi import DATA, TUPLE_ITEMS, Abi, abi, address, slot_offset, word
from .arrays_ir import FIXED, HELPERS, SHARED, WRITEABLE
from .looking import Record
from .native import Library, host
from .sources import (
    SCALAR,
    STATE,
    Argument,
    Attribute,
    Constant,
    Element,
    Held,
    Input,
    New,
    Slot,
    guard_of,
)
from .text import is_native
from .trampoline import Trampoline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .compiled import Compiled
    from .sources import Guard, Output, Source, Tree

SPEED = 0  # of LLVM's code generator: a third of the time, and 2 ns more a call
LONG = 20e-6  # seconds from which on other threads may run meanwhile
FASTCALL_WITH_KEYWORDS = 0x82
ALLOCATE = 47  # the number of tp_alloc for PyType_GetSlot

trampolines: WeakValueDictionary[tuple[Any, str], Library] = WeakValueDictionary()


class Frame(np.ndarray):
    """The record of one trampoline, which keeps alive what the record points to."""

    held: list[Any]
    released: bool  # whether other threads run meanwhile


def entry(compiled: Compiled, inputs: Sequence[Input], outputs: Sequence[Output],
          slow: Callable[..., Any], *, arguments: int,
          guards: Sequence[Guard | tuple[Source, Any]] = (), seconds: float | None = None,
          name: str = "compiled", result: Tree = None) -> Callable[..., Any]:
    """A builtin function that runs ``compiled`` natively, or calls ``slow``.

    Args:
        compiled: a program with native segments only.
        inputs: where each input of the program is found.
        outputs: what is made of each output.
        slow: called with the same arguments if they do not fit, and for its errors if the program
            fails; its result is the result.
        arguments: the number of positional arguments.
        guards: what else must hold; a source and an object say that it must give that very one.
        seconds: how long the program takes, if that is known better than `estimate` knows it; a
            long one lets other threads run.
        name: of the function.
        result: what is returned of the results, as a tree; if it is not given, one result as it
            is, several as a tuple, None if there is none.

    Returns:
        The function; ``slow`` itself where no trampoline can be made (`why_not`).

    Raises:
        RuleError: for inputs or outputs that do not fit the program.
    """
    known = abi()
    if known is None or why_not(compiled):
        return slow
    writing = Writing(compiled, known, inputs, outputs)
    if seconds is None:
        seconds = compiled.seconds()
    text = writing.text(arguments, [guard_of(g) for g in guards], released=seconds >= LONG,
                        result=result)
    target = host()
    library = trampolines.get((target, text))
    if library is None:
        library = trampolines[target, text] = Library(text, (), target, SPEED)
    return writing.function(library, slow, name)


def direct(compiled: Compiled, slow: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a program's inputs that gives a tuple of its outputs.

    Inputs without axes are NumPy scalars, or Python floats where that is float64; outputs without
    axes are scalars. Arrays that it gives are nobody else's.
    """
    if why_not(compiled):
        return slow
    known = [[compiled.program.statements[n].known.shape for n in numbers]
             for numbers in (compiled.program.inputs, compiled.program.outputs)]
    inputs = [Input(Argument(k), "array" if shape else "number") for k, shape in
              enumerate(known[0])]
    return entry(compiled, inputs, [STATE if shape else SCALAR for shape in known[1]], slow,
                 arguments=len(inputs), result=(*range(len(known[1])),))


def why_not(compiled: Compiled) -> str:
    """Why a program has no trampoline; empty if it has one."""
    if abi() is None:
        return "this Python or this NumPy keeps its objects otherwise"
    if any(n >= 0 for _, n in compiled.segments):
        return "it calls Python between its segments"
    program = compiled.program
    for n in [*program.inputs, *program.outputs]:
        known = program.statements[n].known
        if isinstance(known, tuple) or not is_native(known.dtype):
            return f"{known} has no machine code"
        if n not in compiled.layout.homes and program.statements[n].name != "const":
            return f"%{n} is not stored"
    return ""


class Place(NamedTuple):
    """Where the program leaves an output: ``table``, ``work``, ``input`` or ``constant``."""

    kind: str
    number: int
    size: int


def place_of(compiled: Compiled, n: int) -> Place:
    """Where one output is after the program has run."""
    program, layout = compiled.program, compiled.layout
    s = program.statements[n]
    size = prod(s.known.shape) * s.known.dtype.itemsize
    if s.name == "input":
        return Place("input", program.inputs.index(n), size)
    if s.name == "const":
        return Place("constant", s.parameters[0], size)
    home = layout.homes[n]
    return Place(home.kind, home.number, size)


class Writing:
    """One trampoline being written: what it reads and makes, and what it must keep alive."""

    def __init__(self, compiled: Compiled, known: Abi, inputs: Sequence[Input],
                 outputs: Sequence[Output]) -> None:
        self.compiled, self.known = compiled, known
        self.inputs, self.outputs = list(inputs), list(outputs)
        self.program = compiled.program
        self.t = Trampoline(known.tuple_items)
        self.share = pool.Share()
        self.held: list[Any] = [compiled, self.inputs, self.share]
        self.check()
        self.places = [place_of(compiled, n) for n in self.program.outputs]

    def aval(self, n: int) -> Any:
        """What is known of a statement."""
        return self.program.statements[n].known

    def check(self) -> None:
        """A RuleError for a call that does not fit the program."""
        counts = (len(self.inputs), len(self.outputs))
        if counts != (len(self.program.inputs), len(self.program.outputs)):
            raise RuleError(
                f"a call of {counts[0]} inputs and {counts[1]} outputs does not fit a program of "
                f"{len(self.program.inputs)} and {len(self.program.outputs)}; give one Input and "
                "one Output for each")
        for given, n in zip(self.inputs, self.program.inputs, strict=True):
            check_source(given.source)
            check_kind(given.kind, self.aval(n))
        for given, n in zip(self.outputs, self.program.outputs, strict=True):
            self.check_output(given, self.aval(n))

    def check_output(self, given: Output, known: Any) -> None:
        """A RuleError for an output that cannot be made."""
        if given.kind in {"scalar", "float"} and known.shape:
            raise RuleError(f'an output of shape {known.shape} is no {given.kind}; give "array"')
        if given.kind == "float" and known.dtype.kind != "f":
            raise RuleError(f'an output of {known.dtype} is no Python float; give "scalar"')
        if given.kind != "into":
            return
        if not 0 <= given.position < len(self.inputs) or (
                self.inputs[given.position].kind != "array"):
            raise RuleError(f"there is no array input {given.position} to write an output into")
        there = self.aval(self.program.inputs[given.position])
        if (there.shape, there.dtype) != (known.shape, known.dtype):
            raise RuleError(f"an output of {known} cannot be written over an input of {there}")

    # ---- text

    def text(self, arguments: int, guards: list[Guard], *, released: bool,
             result: Tree) -> str:
        """The trampoline."""
        t = self.t
        self.guards, self.released = guards, released
        made = [self.prepared(k) for k in range(len(self.outputs))]
        for given in self.inputs:
            t.look_up(given.source)
        for guard in self.guards:
            check_guard(guard)
            t.ask(guard)
        t.forget()
        if released:
            t.occupy()
        for guard in self.guards:
            t.guard(guard)
        self.fill(made, released=released)
        failed = any(o.kind == "into" for o in self.outputs)
        if self.compiled.segments:
            t.segment(released=released, failed=failed)
        self.collect()
        if released:
            t.vacate()
        self.result(made, result)
        return t.text(arguments, host().attributes())

    def result(self, made: list[str], tree: Tree) -> None:
        """Make the objects of the outputs, and give them back in their tree."""
        given = [k for k in range(len(self.outputs)) if self.outputs[k].kind != "into"]
        count = len(given)
        if tree is None:
            tree = Constant(None) if not count else 0 if count == 1 else (*range(count),)
        check_tree(tree, count)
        self.held.append(tree)
        if (tree == (*range(count),) and self.known.tuple_items == TUPLE_ITEMS
                and {self.outputs[k].kind for k in given} == {"float"}):
            self.held.append([None] * pool.AGAIN)
            dtypes = [self.aval(self.program.outputs[k]).dtype for k in given]
            floats = self.t.new_floats([made[k] for k in given], dtypes, id(self.held[-1]))
            self.t.returned([floats], 0)
        else:
            self.t.returned([self.finished(k, made[k]) for k in given], tree)

    def prepared(self, k: int) -> str:
        """The new array of an output, or the place on the stack of a number."""
        kind, _, pooled = self.outputs[k]
        known = self.aval(self.program.outputs[k])
        if kind == "into":
            return ""
        if kind != "array":
            return self.t.number()
        size = self.places[k].size
        maker = list_ = 0
        if size >= pool.LARGE:
            self.held.append(partial(pool.fresh, known.shape, known.dtype))
            maker = id(self.held[-1])
        if pooled and size and pool.reserve(self.share, pool.AGAIN * size):
            self.held.append([None] * pool.AGAIN)
            list_ = id(self.held[-1])
        made = self.t.new_array(known, maker, list_)
        self.t.keep(made)
        return made

    def fill(self, made: list[str], *, released: bool) -> None:
        """Read the inputs, and write the table of pointers."""
        t, layout = self.t, self.compiled.layout
        written = {o.position for o in self.outputs if o.kind == "into"}
        table = t.fixed("table")
        self.data: list[str] = []
        for k, (given, n) in enumerate(zip(self.inputs, self.program.inputs, strict=True)):
            if given.kind != "array":
                data = t.read_number(given.source, self.aval(n).dtype, given.kind)
            elif k in written:
                data = t.array(given.source, self.aval(n), WRITEABLE)
                t.alone(given.source, given.holders)
            else:
                data = t.array(given.source, self.aval(n))
            if released and given.kind == "array":
                t.hold(given.source)
            self.data.append(data)
            t.do(f"store ptr {data}, ptr {t.at(table, 8 * layout.homes[n].number)}")
        self.targets = [self.target(k, made[k]) for k in range(len(made))]
        self.firsts: dict[int, str] = {}  # where the program writes, by slot of the table
        self.late: list[tuple[str, str, int]] = []  # what is copied after it has run
        for k in range(len(made)):
            self.aim(k, table)

    def target(self, k: int, made: str) -> str:
        """The memory that an output goes to."""
        kind, position, _ = self.outputs[k]
        if kind == "into":
            return self.data[position]
        return self.t.load(made, DATA) if kind == "array" else made

    def aim(self, k: int, table: str) -> None:
        """See that an output reaches its target: directly, or by a copy before or after the run."""
        t, (kind, number, size) = self.t, self.places[k]
        target = self.targets[k]
        if kind == "input":
            if self.outputs[k].kind == "into":
                if number != self.outputs[k].position:
                    aside = self.aside(size)
                    t.copied(aside, self.data[number], size)
                    self.late.append((target, aside, size))
            else:
                t.copied(target, self.data[number], size)
        elif kind == "constant":
            value = self.program.constants[number]
            array = np.array(value, self.aval(self.program.outputs[k]).dtype, order="C")
            self.held.append(array)
            self.late.append((target, t.word(t.record.add(array.ctypes.data)), size))
        elif kind == "work":
            self.late.append((target, t.at(t.fixed("work"), number), size))
        elif number in self.firsts:
            self.late.append((target, self.firsts[number], size))
        else:
            direct = self.outputs[k].kind != "into" or self.directly(k)
            self.firsts[number] = target if direct else self.aside(size)
            if not direct:
                self.late.append((target, self.firsts[number], size))
            t.do(f"store ptr {self.firsts[number]}, ptr {t.at(table, 8 * number)}")

    def directly(self, k: int) -> bool:
        """Whether the program itself keeps what it reads of an input that it writes over."""
        promised = getattr(self.compiled, "overwrites", {})
        return promised.get(k) == self.outputs[k].position

    def aside(self, size: int) -> str:
        """Memory for an output that must not reach its input before the program has run."""
        array = pool.fresh((size,), np.dtype(np.uint8))
        self.held.append(array)
        return self.t.word(self.t.record.add(array.ctypes.data))

    def collect(self) -> None:
        """Copy what the program left elsewhere; inputs are written over last."""
        into = {self.data[o.position] for o in self.outputs if o.kind == "into"}
        for to, from_, size in sorted(self.late, key=lambda copy: copy[0] in into):
            self.t.copied(to, from_, size)

    def finished(self, k: int, made: str) -> str:
        """The object of an output."""
        kind, dtype = self.outputs[k].kind, self.aval(self.program.outputs[k]).dtype
        if kind == "array":
            return made
        if kind == "float":
            made = self.t.new_float(made, dtype)
        else:
            made = self.t.new_scalar(made, dtype, allocator(dtype.type))
        self.t.keep(made)
        return made

    # ---- the function

    def function(self, library: Library, slow: Any, name: str) -> Callable[..., Any]:
        """The builtin, which owns its record."""
        record = self.t.record
        title = record.point(name.encode() + b"\0")
        size = self.compiled.layout.bytes
        work = (pool.fresh((size,), np.dtype(np.uint8)) if self.released else
                pool.workspace(size))
        table = self.compiled.table.copy()
        failed = self.compiled.failed
        shared = helpers()
        values = {"slow": id(slow), "failed": id(failed), "table": table.ctypes.data,
                  **{name: shared.address(name) for name in SHARED},
                  "work": work.ctypes.data, "ndarray": id(np.ndarray), "float": id(float),
                  "Memory": id(pool.Memory), "None": id(None), **self.known.functions,
                  "meth": library.address("call"), "meth_flags": FASTCALL_WITH_KEYWORDS}
        for segment, _ in self.compiled.segments:
            values["segment"] = address(self.compiled.functions[segment])
        frame = framed(record, values, title)
        frame.held = [*self.held, self.guards, library, slow, failed, table, work,
                      shared]
        frame.released = self.released
        return builtin(frame)


def framed(record: Record, values: dict[str, int], title: int = 0) -> Any:
    """The Frame of a record with these fixed words; a PyMethodDef begins with the name."""
    for key in {*values} & {*FIXED}:
        record.set(key, values[key])
    frame: Any = Frame((record.size(),), np.uint8)
    frame[:] = np.frombuffer(record.bytes_at(frame.ctypes.data), np.uint8)
    frame[:8] = frame[title:title + 8]
    return frame


def frame_of(f: Callable[..., Any]) -> Any:
    """What `callables` calls for a function: the Frame of one of ours, or one that calls it."""
    own, known = getattr(f, "__self__", None), abi()
    if type(own) is Frame and type(f) is BuiltinFunctionType:
        return own
    assert known is not None  # noqa: S101 - asked before
    frame = framed(Record(), {**known.functions, "slow": id(f),
                              "meth": helpers().address("forward")})
    frame.held = [f]
    return frame


def check_kind(kind: str, known: Any) -> None:
    """A RuleError for an input that no object of its kind could be."""
    if kind != "array" and known.shape:
        raise RuleError(f'an input of shape {known.shape} is no number; give kind="array"')
    wanted = {"float": "float64", "int": "int64", "bool": "bool"}.get(kind, known.dtype.name)
    if known.dtype.name != wanted:
        raise RuleError(f'an input of {known.dtype} is no Python {kind}; give kind="scalar"')


def check_source(source: Source) -> None:
    """A RuleError for a source that native code cannot look into."""
    if not isinstance(source, (Slot, Element, Attribute)):
        return
    check_source(source.of)
    if isinstance(source, Slot) and not is_slot(source):
        raise RuleError(f"{source.type.__name__}.{source.name} is no member of __slots__ of that "
                        "very type; name one that is")
    if isinstance(source, Element) and (
            not issubclass(source.type, (list, tuple)) or source.position < 0):
        raise RuleError(f"position {source.position} of a {source.type.__name__} is no element of "
                        "a list or a tuple, counted from the front")


def check_tree(tree: Tree, count: int) -> None:
    """A RuleError for a tree of results that cannot be built."""
    if isinstance(tree, int):
        if not 0 <= tree < count:
            raise RuleError(f"there is no result {tree}, only {count} of them")
    elif isinstance(tree, New):
        for name, part in tree.slots:
            check_source(Slot(Argument(0), tree.type, name))
            check_tree(part, count)
    elif type(tree) in (tuple, list, dict):
        for part in tree.values() if isinstance(tree, dict) else tree:
            check_tree(part, count)
    elif not isinstance(tree, Constant):
        raise RuleError(f"{tree!r} is no tree of results; write Constant({tree!r}) for the object")


def is_slot(source: Slot) -> bool:
    """Whether a slot is where its descriptor says; of a known object, it is read."""
    of, type_, name = source
    offset = slot_offset(type_, name)
    if not offset or not isinstance(of, Held):
        return offset > 0
    value = getattr(of.value, name, None)
    return type(of.value) is type_ and (value is None or word(id(of.value) + offset) == id(value))


def check_guard(guard: Guard) -> None:
    """A RuleError for a guard that native code cannot ask."""
    check_source(guard.source)
    if guard.how == "len" and not issubclass(guard.value[0], (list, tuple, dict)):
        raise RuleError(f"the length of a {guard.value[0].__name__} is no guard; of a list, a "
                        "tuple or a dict it is one")


@cache
def helpers() -> Library:
    """What all trampolines call; it stays as long as the process, because calls return into it."""
    made = Library(HELPERS + host().attributes(), (), host())
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
    return made


@cache
def allocator(type_: type) -> int:
    """The address of the function that makes an object of a NumPy scalar's type."""
    find = ctypes.pythonapi.PyType_GetSlot
    find.restype, find.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_int]
    return find(type_, ALLOCATE)


def builtin(frame: Frame) -> Callable[..., Any]:
    """The function whose definition a record begins with; the record lives as long as it."""
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    return make(frame.ctypes.data, frame, None)
