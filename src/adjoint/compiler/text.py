"""LLVM IR as text: a module's declarations, and functions written as nests of loops.

A `Writer` keeps one `Block` for each loop that is open. A value goes into the outermost block in
which all that it reads is known, so that what a loop does not change is computed before it; no
pass over the IR is run afterwards.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

# The type of one element in a register; truth values are bytes in memory.
TYPES = {
    "float32": "float", "float64": "double", "bool": "i1",
    "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "i8", "uint16": "i16", "uint32": "i32", "uint64": "i64"}
INDEX = np.dtype(np.int64)
NATIVE = frozenset(map(np.dtype, TYPES))
SUFFIXES = {"float": "f32", "double": "f64"}  # in the names of intrinsics


def is_native(dtype: Any) -> bool:
    """Whether machine code is written for a dtype: no complex numbers, no halves, no objects."""
    return isinstance(dtype, np.dtype) and dtype in NATIVE


@cache
def register_type(dtype: Any, lanes: int = 0) -> str:
    """The type of a value in a register: of ``lanes`` elements, or of one if that is 0."""
    one = TYPES[dtype.name]
    return f"<{lanes} x {one}>" if lanes else one


@cache
def memory_type(dtype: Any, lanes: int = 0) -> str:
    """The type of a value in memory."""
    one = "i8" if dtype.kind == "b" else TYPES[dtype.name]
    return f"<{lanes} x {one}>" if lanes else one


def suffix(type_: str) -> str:
    """The type as intrinsics spell it: ``f64``, ``v8i32``.

    >>> from adjoint.compiler.text import suffix
    >>> suffix("<8 x float>"), suffix("i64")
    ('v8f32', 'i64')
    """
    if type_.startswith("<"):
        n, _, one = type_[1:-1].split()
        return f"v{n}{SUFFIXES.get(one, one)}"
    return SUFFIXES.get(type_, type_)


def literal(x: Any, dtype: Any) -> str:
    """A number in IR: floats by their bits, which says infinities and NaN too.

    >>> from adjoint.compiler.text import literal
    >>> literal(1.5, np.dtype(np.float32)), literal(True, np.dtype(np.bool_))
    ('0x3FF8000000000000', 'true')
    """
    with np.errstate(all="ignore"):
        value = np.asarray(x).astype(dtype)
        if dtype.kind == "f":
            return f"0x{int(value.astype(np.float64).view(np.uint64)):016X}"
    return ("true" if value else "false") if dtype.kind == "b" else str(int(value))


def constant(x: Any, dtype: Any, lanes: int = 0) -> str:
    """A number, in every lane."""
    one = literal(x, dtype)
    return f"splat ({TYPES[dtype.name]} {one})" if lanes else one


def positions(lanes: int, step: int = 1, dtype: Any = INDEX) -> str:
    """The vector 0, step, 2 step, ... of integers."""
    one = TYPES[dtype.name]
    return "<" + ", ".join(f"{one} {step * k}" for k in range(lanes)) + ">"


class Module:
    """Declarations and functions, each once; kernels of equal text are one."""

    def __init__(self, fused: bool = False, *, inlined: bool = False,
                 tables: bool = False) -> None:
        self.fused = fused  # whether the processor rounds a b + c once
        self.tables = tables  # whether it looks coefficients up in registers
        self.inlined = inlined  # whether long formulas stand where they are used
        self.parts: dict[str, str] = {}
        self.externals: set[str] = set()  # functions of the C library
        self.kernels: dict[str, str] = {}

    def declare(self, name: str, result: str, *arguments: str) -> None:
        """``declare result @name(arguments)``."""
        self.parts.setdefault(name, f"declare {result} @{name}({', '.join(arguments)})")

    def declared(self, text: str) -> None:
        """A declaration that somebody else wrote."""
        self.parts.setdefault(text.partition("@")[2].partition("(")[0], text)

    def define(self, name: str, text: str) -> None:
        """A whole function."""
        self.parts.setdefault(name, text)

    def kernel(self, head: str, body: str) -> str:
        """The name of a kernel, which is written only if none has the same text."""
        name = self.kernels.setdefault(head + body, f"kernel_{len(self.kernels)}")
        self.define(name, f"define internal i64 @{name}({head}) #0 {{\n{body}}}\n")
        return name

    def text(self, attributes: str) -> str:
        """The module."""
        return "\n".join([*self.parts.values(), attributes, ""])


class Block:
    """Lines of one level of loops, what was computed in it, and the label where it ends."""

    __slots__ = ("label", "lines", "memo")

    def __init__(self, label: str) -> None:
        self.lines: list[str] = []
        self.memo: dict[Any, Any] = {}
        self.label = label


class Variable(NamedTuple):
    """What an index is made of: a loop's counter, or a number that was loaded.

    ``lanes`` are the values of a loaded vector; a loop's counter over lanes counts from ``text``.
    """

    text: str
    depth: int
    lanes: bool = False


class Turn:
    """One turn of a loop: the counter, what is carried in, and what is carried on."""

    def __init__(self, carried: Sequence[str]) -> None:
        self.carried = list(carried)
        self.following: Sequence[str] = ()


class Writer:
    """The text of one function."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.blocks = [Block("entry")]
        self.variables: dict[str, Variable] = {}
        self.failures: dict[int, str] = {}
        self.count = 0

    @property
    def depth(self) -> int:
        """The number of loops that are open."""
        return len(self.blocks) - 1

    def name(self, prefix: str = "v") -> str:
        """A fresh name."""
        self.count += 1
        return f"{prefix}{self.count}"

    def put(self, depth: int, text: str) -> str:
        """A new value, computed in the block at ``depth``."""
        name = "%" + self.name()
        self.blocks[depth].lines.append(f"  {name} = {text}")
        return name

    def do(self, depth: int, text: str) -> None:
        """An instruction without a value."""
        self.blocks[depth].lines.append(f"  {text}")

    def once(self, depth: int, text: str) -> str:
        """A value that a block computes once, however often it is asked for."""
        memo = self.blocks[depth].memo
        if text not in memo:
            memo[text] = self.put(depth, text)
        return memo[text]

    def demand(self, depth: int, condition: str, code: int) -> None:
        """Leave the function with ``code`` unless the condition holds."""
        block = self.blocks[depth]
        if ("demand", condition) in block.memo:
            return
        block.memo["demand", condition] = True
        fail = self.failures.setdefault(code, self.name("fail"))
        following = self.name("go")
        self.do(depth, f"br i1 {condition}, label %{following}, label %{fail}")
        block.lines.append(f"{following}:")
        block.label = following

    @contextmanager
    def loop(self, variable: str, span: tuple[int | str, int | str, int],
             carries: Sequence[tuple[str, str]] = (), lanes: bool = False) -> Generator[Turn]:
        """A loop over start, end, step, which runs at least once.

        ``carries`` are types and first values; after the loop ``carried`` are the last ones.
        """
        start, end, step = span
        k, outer = self.name(""), self.blocks[-1]
        head, out, counter = f"loop{k}", f"out{k}", f"%i{k}"
        inner = Block(head)
        turn = Turn([f"%c{k}_{j}" for j in range(len(carries))])
        self.blocks.append(inner)
        self.variables[variable] = Variable(counter, self.depth, lanes)
        yield turn
        self.blocks.pop()
        del self.variables[variable]
        lines = [f"  br label %{head}", f"{head}:",
                 f"  {counter} = phi i64 [{start}, %{outer.label}], [%n{k}, %{inner.label}]"]
        lines += [f"  {c} = phi {type_} [{first}, %{outer.label}], [{then}, %{inner.label}]"
                  for c, (type_, first), then in
                  zip(turn.carried, carries, turn.following, strict=True)]
        lines += [*inner.lines, f"  %n{k} = add nuw nsw i64 {counter}, {step}",
                  f"  %m{k} = icmp ult i64 %n{k}, {end}",
                  f"  br i1 %m{k}, label %{head}, label %{out}", f"{out}:"]
        outer.lines += lines
        outer.label = out
        turn.carried = list(turn.following)

    @contextmanager
    def fixed(self, variable: str, value: int, lanes: bool = False) -> Generator[None]:
        """A variable with one value: a loop of one turn."""
        outer, label = self.blocks[-1], self.name("once")
        inner = Block(label)  # of its own: what moves out of it may end in another label
        self.blocks.append(inner)
        self.variables[variable] = Variable(str(value), self.depth, lanes)
        yield
        self.blocks.pop()
        del self.variables[variable]
        outer.lines += [f"  br label %{label}", f"{label}:", *inner.lines]
        outer.label = inner.label

    def body(self) -> str:
        """The text of the function after its opening brace."""
        (top,) = self.blocks
        lines = ["entry:", *top.lines, "  ret i64 0"]
        for code, label in self.failures.items():
            lines += [f"{label}:", f"  ret i64 {code}"]
        return "\n".join(lines) + "\n"
