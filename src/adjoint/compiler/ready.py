"""What the cache keeps of a compiled program besides its machine code: all that a call needs.

`executable` gives a `Ready` where the cache has an entry for a Graph (`keys.py` says what that is);
else it compiles the Program, and writes one. So a process that meets a Graph which another one has
compiled only traces it: no stage runs, and llvmlite is not imported.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from adjoint.core.node import WEAK, aval
from adjoint.errors import IndexingError, UnsupportedError

from . import blas, cache, calibration
from .chunks import sizes
from .compiled import Compiled
from .layout import Home
from .machine import sources
from .native import Library, host, versions
from .program import Program, Statement
from .sharing_ir import SHARE
from .threads import provide

if TYPE_CHECKING:
    from collections.abc import Callable

    from .native import Target

LENGTH = 8  # bytes that say how long an entry's header is


def executable(make: Callable[[], Program], text: str) -> Compiled:
    """A Graph's Program compiled: found in the cache by the Graph's text, or made now.

    Args:
        make: gives the Program.
        text: of the Graph, and of all else that the Program depends on; empty if it has none.
    """
    usual = text and not sizes.whole and not sizes.small and cache.on_disk()
    origin = sources() if usual else ""
    if not origin:
        return Compiled(make())
    target, known = host(), versions()
    never = blas.is_never()
    key = cache.key_of(f"program 1\n{np.__version__}\n{never}\n{origin}\n{text}", target, known)
    entry = cache.found(key, known)
    found = None if entry is None else restored(entry, target, make)
    if found is None:
        found = Compiled(make())
        told = kept(found)
        if told:
            cache.keep(key, known, told)
    return found


class Places:
    """What a call reads of a Layout: the homes of inputs and outputs."""

    def __init__(self, told: dict[str, Any], constants: list[Any]) -> None:
        self.bytes: int = told["bytes"]
        self.slots: int = told["slots"]
        self.homes = {n: Home(*home) for n, home in told["homes"]}
        self.constants_of = {slot: constants[k] for slot, k in told["table"]}
        self.overwrites = dict[int, int](told["overwrites"])
        self.results: dict[Any, Any] = {}
        self.called: dict[int, str] = {}
        self.computed = {*told["computed"]}

    def made(self) -> set[int]:
        """The statements that machine code computes."""
        return self.computed


class Ready(Compiled):
    """A Compiled that was compiled before: its program has the inputs and the outputs alone."""

    layout: Any

    def __init__(self, told: dict[str, Any], constants: list[Any], library: Library,  # pyright: ignore[reportMissingSuperCall]
                 make: Callable[[], Program]) -> None:
        self.make, self.known_seconds = make, told["seconds"]
        self.library, self.target, self.externals = library, library.target, {*told["externals"]}
        self.program = Program()
        self.program.statements = [Statement(name, (), tuple(parameters), known_of(known))
                                   for name, parameters, known in told["statements"]]
        self.program.inputs, self.program.outputs = told["inputs"], told["outputs"]
        self.program.constants = constants
        self.layout = Places(told, constants)
        self.overwrites = self.layout.overwrites
        self.segments = [(name, -1) for name in told["segments"]]
        self.link()

    def loaded(self) -> Library:
        """The entry's machine code."""
        return self.library

    def seconds(self) -> float:
        """About how long a call takes."""
        return self.known_seconds

    def whole(self) -> Compiled:
        """The program, compiled again: for what is seldom asked."""
        return Compiled(self.make(), target=self.target)

    def failed(self, code: int) -> NoReturn:
        """Raise the error of a failure code; the stages run again to say which statement it was."""
        whole = self.whole()
        if whole.library.key != self.library.key:
            raise IndexingError("an index is out of range in a compiled function")
        whole.failed(code)


# ---- entries: a header, and the bytes of constants

def kept(compiled: Compiled) -> bytes:
    """The entry of a program; empty if a call needs more than an entry says."""
    program = compiled.program
    distinct = list(dict.fromkeys([*program.inputs, *program.outputs]))
    if any(n >= 0 for _, n in compiled.segments) or not compiled.segments or not all(
            is_simple(compiled, n) for n in distinct):
        return b""
    arrays: list[Any] = []
    told = told_of_call(compiled, distinct, arrays)
    parts = [np.array(a, order="C") for a in arrays]
    told["arrays"] = [(p.dtype.str, p.shape, isinstance(a, (bool, int, float)))
                      for a, p in zip(arrays, parts, strict=True)]
    header = json.dumps(told).encode()
    return b"".join([len(header).to_bytes(LENGTH, "big"), header, *[p.tobytes() for p in parts]])


def told_of_call(compiled: Compiled, distinct: list[int], arrays: list[Any]) -> dict[str, Any]:
    """All that a call needs to know, as JSON has it; its constants are put behind ``arrays``."""
    program, layout = compiled.program, compiled.layout
    where, made = {n: k for k, n in enumerate(distinct)}, layout.made()

    def constant(value: Any) -> int:
        arrays.append(value)
        return len(arrays) - 1

    def statement(n: int) -> list[Any]:
        s = program.statements[n]
        name = s.name if s.name in {"input", "const"} else "stored"
        given = [constant(program.constants[s.parameters[0]])] if name == "const" else [
            s.parameters[0]] if name == "input" else []
        return [name, given, told_of(s.known)]
    return {
        "statements": [statement(n) for n in distinct],
        "inputs": [where[n] for n in program.inputs],
        "outputs": [where[n] for n in program.outputs],
        "homes": [(where[n], layout.homes[n]) for n in distinct if n in layout.homes],
        "table": [(slot, constant(value)) for slot, value in layout.constants_of.items()],
        "computed": [where[n] for n in distinct if n in made],
        "overwrites": [*layout.overwrites.items()], "bytes": layout.bytes, "slots": layout.slots,
        "segments": [name for name, _ in compiled.segments],
        "seconds": compiled.seconds(), "code": compiled.library.key,
        "externals": sorted(compiled.externals), "limits": calibration.asked(
            program, compiled.target)}


def is_simple(compiled: Compiled, n: int) -> bool:
    """Whether an input or output is one array or number that stands where its home says."""
    s, home = compiled.program.statements[n], compiled.layout.homes.get(n)
    if isinstance(s.known, tuple):
        return False
    if s.name == "const":
        return True
    if home is None or home.offset:
        return False
    return s.name == "input" or (n in compiled.layout.made() and home.kind == "table") or (
        home.kind == "work")


def restored(entry: bytes, target: Target, make: Callable[[], Program]) -> Ready | None:
    """The program of an entry; None if its machine code is gone, or BLAS is used otherwise now."""
    start = LENGTH + int.from_bytes(entry[:LENGTH], "big")
    told = json.loads(entry[LENGTH:start])
    if not calibration.as_before(told["limits"], target):
        return None
    if SHARE in told["externals"]:
        provide()
    try:
        library = Library.kept(told["code"], told["externals"], target)
    except UnsupportedError:  # a function that it calls is gone
        return None
    if library is None:
        return None
    constants: list[Any] = []
    for name, shape, number in told["arrays"]:
        array = np.frombuffer(entry, name, count=int(np.prod(shape)), offset=start).reshape(shape)
        start += array.nbytes
        constants.append(array.item() if number else array.copy())
    return Ready(told, constants, library, make)


def told_of(known: Any) -> list[Any]:
    """An Aval as JSON has it."""
    return [list(known.shape), known.dtype.str, known.weak]


def known_of(told: list[Any]) -> Any:
    """The Aval."""
    shape, name, weak = told
    dtype = np.dtype(name)
    return WEAK[type(dtype.type(0).item())] if weak else aval(tuple(shape), dtype)
