"""A random program as data: leaves, steps, and how to run it with any library.

A step applies one operation. Each of its arguments is made of an earlier value so that it stays in
a box around the argument of one of the operation's own cases:

    argument = centre + radius * curve(scale * moved(value) + phase)

with a bounded curve (sine, tanh), and ``moved`` a reshape, broadcast, sum or gather. So every
operation is reachable from the leaves, whatever its domain, and nothing grows along the way.
"""

from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

import adjoint as ad
from adjoint.core.box import Box, bind
from adjoint.core.node import aval_of
from adjoint.core.primitive import PUBLIC, REGISTRY, Primitive
from adjoint.ops.declare import APPLY, COMPOSED
from adjoint.transforms.checkpointing import CHECKPOINT
from adjoint.transforms.control_cond import COND
from adjoint.transforms.control_scan import SCAN
from adjoint.transforms.control_while import WHILE


def turned(f):
    """``f`` as the only turn of a `while_loop`."""
    def inside(*xs):
        first = {name: blank(y) for name, y in f(*xs).items()}
        return ad.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, f(*xs)), (0, first))[1]
    return inside


def blank(y):
    """An array of the shape and dtype of ``y``."""
    known = aval_of(y)
    return np.zeros(known.shape, known.dtype)


# Rows that apply a whole function have no cases; a block of steps runs inside each of them.
WRAPPERS = {
    CHECKPOINT.name: ad.checkpoint, WHILE.name: turned,
    COND.name: lambda f: lambda *xs: ad.cond(True, lambda: f(*xs), lambda: f(*xs)),
    SCAN.name: lambda f: lambda *xs: {name: y[0] for name, y in ad.scan(
        lambda carry, _: (carry, f(*xs)), 0, length=1)[1].items()}}

# Several values as one, for rows that take such a value apart. It is in no registry.
gather = Primitive(
    "gather", lambda *xs: xs, lambda *avals: avals, several=True,
    jvp=lambda dxs, y, *xs: tuple(
        np.zeros(np.shape(x)) if dx is None else dx for dx, x in zip(dxs, xs, strict=True)),
    vjp=lambda dy, y, *xs_needs: tuple(
        part if need else None for part, need in zip(dy, xs_needs[-1], strict=True)),
    lower=lambda b, *refs: refs)


# ---------------------------------------------------------------- operations

@dataclass(frozen=True, eq=False)
class Operation:
    """A row, or an operation composed of rows."""

    name: str
    row: Any
    apply: Any
    cases: Any

    @property
    def nondiff(self):
        return self.row is not None and self.row.nondiff

    @property
    def effects(self):
        return "none" if self.row is None else self.row.effects

    @cache  # noqa: B019 - operations live as long as the process
    def count(self):
        """How many cases there are."""
        return sum(1 for _ in self.cases(np.random.default_rng(0)))


@lru_cache(maxsize=1)
def operations():
    """All operations with cases, by name."""
    found = {}
    for name, row in REGISTRY.items():
        if row.cases is not None and row.effects in ("none", "write"):
            apply = APPLY.get(name) or (
                lambda *xs, row=row, **params: bind(row, xs, params))
            found[name] = Operation(name, row, apply, row.cases)
    for name, c in COMPOSED.items():
        if name not in found:
            found[name] = Operation(name, None, PUBLIC[name], c.cases)
    return dict(sorted(found.items()))


# ---------------------------------------------------------------- the data

@dataclass(frozen=True)
class Given:
    """A constant argument."""

    value: Any


@dataclass(frozen=True)
class Bare:
    """A value as it is."""

    source: tuple


@dataclass(frozen=True)
class Feed:
    """A floating point argument, from an earlier value."""

    source: tuple
    moves: tuple  # to the shape of the centre
    curve: str
    scale: float
    phase: float
    centre: Any
    radius: Any
    layout: tuple = ()  # after the curve: the memory layout of the case's argument


@dataclass(frozen=True)
class Pick:
    """An integer or boolean argument: an earlier value picks among those of the case."""

    source: tuple
    moves: tuple
    choices: Any


@dataclass(frozen=True)
class Group:
    """Several values as one argument."""

    parts: tuple


@dataclass(frozen=True)
class Step:
    """One operation. ``number`` is its own for good, also in a shrunk program."""

    number: int
    name: str
    arguments: tuple
    params: dict = field(default_factory=dict)

    def sources(self):
        """The earlier values that it reads."""
        flat = [q for a in self.arguments for q in (a.parts if isinstance(a, Group) else (a,))]
        return [a.source for a in flat if not isinstance(a, Given)]


@dataclass(frozen=True)
class Program:
    """Leaves by name ``("x", n)``, steps whose values are named ``("y", number, part)``.

    ``outputs`` are the numbers of the steps whose values count; None for all.
    ``blocks`` are (row, first, last): these steps run inside that row.
    """

    seed: Any
    names: Any
    leaves: dict
    steps: tuple
    flavour: str = "double"
    outputs: Any = None
    blocks: tuple = ()

    def rows(self):
        """The operations that occur."""
        inside = [row for row, first, last in self.blocks]
        return {s.name for s in self.steps} | set(inside)

    def with_steps(self, steps):
        return replace(self, steps=tuple(steps))


# ---------------------------------------------------------------- running

class Ours:
    """How this library says what a program needs."""

    def apply(self, step, args):
        return operations()[step.name].apply(*args, **step.params)

    def constant(self, value, step):
        return value

    def group(self, parts):
        return bind(gather, parts, {})

    def parts(self, y):
        """The arrays of a value."""
        if isinstance(y, Box) and y.aval.__class__ is tuple:
            return [PUBLIC["item"](y, index=k) for k in range(len(y.aval))]
        return list(y) if isinstance(y, tuple) else [y]

    def move(self, x, kind, given):
        if kind == "take":
            return PUBLIC["getitem"](PUBLIC["reshape"](x, (-1,)), given)
        if kind == "getitem":
            return PUBLIC["getitem"](x, given)
        if kind == "cast":
            return PUBLIC["cast"](x, dtype=np.dtype(given))
        if kind == "real":
            return PUBLIC["real"](x)
        if kind == "transpose":
            return PUBLIC["transpose"](x, given)
        return APPLY[kind](x, shape=given)

    def bend(self, x, feed):
        inner = x * feed.scale + feed.phase
        return PUBLIC[feed.curve](inner) * feed.radius + feed.centre

    def pick(self, x, choices):
        if choices.dtype.kind == "b":
            return x
        return PUBLIC["getitem"](choices, PUBLIC["remainder"](x * 1, len(choices)))

    def total(self, y, w):
        """A number that depends on every element: <w, y>, of complex values both parts."""
        if y.dtype.kind == "c":
            return (PUBLIC["real"](y) * w.real).sum() + (PUBLIC["imag"](y) * w.imag).sum()
        return (y * w).sum()


OURS = Ours()


def made(argument, values, library, step):
    """An argument of a step."""
    if isinstance(argument, Given):
        return library.constant(argument.value, step)
    if isinstance(argument, Group):
        return library.group([made(p, values, library, step) for p in argument.parts])
    x = values[argument.source]
    if isinstance(argument, Bare):
        return x
    for kind, given in argument.moves:
        x = library.move(x, kind, given)
    if isinstance(argument, Pick):
        return library.pick(x, argument.choices)
    x = library.bend(x, argument)
    for kind, given in argument.layout:
        x = library.move(x, kind, given)
    return x


def advance(step, values, library=OURS, frozen=None):
    """Apply one step and enter its values."""
    if frozen is not None and step.number in frozen:
        parts = frozen[step.number]
    else:
        args = [made(a, values, library, step) for a in step.arguments]
        parts = library.parts(library.apply(step, args))
    for k, y in enumerate(parts):
        values["y", step.number, k] = y
    return parts


def run(program, leaves, library=OURS, frozen=None, wrapped=False):
    """All values, by name. ``frozen`` are values of steps that are held fixed."""
    values = dict(zip(program.leaves, leaves, strict=True))
    blocks = {first: (row, last) for row, first, last in program.blocks} if wrapped else {}
    k, steps = 0, program.steps
    while k < len(steps):
        inside = blocks.get(steps[k].number)
        if inside is None:
            advance(steps[k], values, library, frozen)
            k += 1
            continue
        row, last = inside
        body = [s for s in steps[k:] if s.number <= last]
        run_block(row, body, values, library)
        k += len(body)
    return values


def run_block(row, body, values, library):
    """Some steps inside a row that applies a function."""
    own = {s.number for s in body}
    outer = sorted({key for s in body for key in s.sources()
                    if key[0] == "x" or key[1] not in own}, key=str)

    def block(*given):
        inner = dict(zip(outer, given, strict=True))
        before = set(inner)
        for s in body:
            advance(s, inner, library)
        return {str(key): y for key, y in inner.items() if key not in before}, \
            {str(key): key for key in inner}
    names = {}

    def results(*given):
        found, keys = block(*given)
        names.update(keys)
        return found
    found = WRAPPERS[row](results)(*[values[key] for key in outer])
    values.update({names[text]: y for text, y in found.items()})


def total_of(step, parts, weights, library=OURS):
    """One number for each step: its values against fixed weights."""
    out = 0.0
    for y, w in zip(parts, weights[step.number], strict=True):
        if w is not None:
            out = out + library.total(y, w)
    return out


def function(program, weights, library=OURS, frozen=None, wrapped=False):
    """The program as a function of its leaves: one number for each step that counts."""
    def f(*leaves):
        values = run(program, leaves, library, frozen, wrapped)
        found = []
        for s in program.steps:
            if weights.get(s.number) is not None and any(
                    w is not None for w in weights[s.number]):
                parts = [values["y", s.number, k] for k in range(len(weights[s.number]))]
                found.append(total_of(s, parts, weights, library))
        return found
    return f


# ---------------------------------------------------------------- as Python

HEAD = """\
import numpy as np
from numpy import array, dtype, float32, float64, inf, nan
import adjoint as ad
from adjoint.core.box import bind
from adjoint.core.primitive import REGISTRY


def row(name):
    return lambda *xs, **params: bind(REGISTRY[name], xs, params)
"""


def shown(value):
    """A value as Python, with all its digits; the layout where it is not C."""
    with np.printoptions(threshold=10_000, floatmode="unique", linewidth=90):
        if isinstance(value, np.ndarray):
            text = f"np.array({value.tolist()!r}, {value.dtype.name!r})"
            if 0 in value.shape:
                return f"np.zeros({value.shape}, {value.dtype.name!r})"
            if any(s == 0 for s in value.strides) and value.size > 1:
                return f"np.broadcast_to({value.flat[0]!r}, {value.shape})"
            if value.ndim and any(s < 0 for s in value.strides):
                turned = tuple(slice(None, None, -1) if s < 0 else slice(None)
                               for s in value.strides)
                return f"{shown(np.ascontiguousarray(value[turned]))}[{turned!r}]"
            return f"np.asfortranarray({text})" if value.flags.fnc else text
        if isinstance(value, np.generic):
            return f"np.{value.dtype.name}({value.item()!r})"
        return repr(value)


def written(argument):
    """An argument as an expression."""
    if isinstance(argument, Given):
        return shown(argument.value)
    if isinstance(argument, Group):
        return f"({', '.join(map(written, argument.parts))},)"
    x = "_".join(map(str, argument.source))
    if isinstance(argument, Bare):
        return x
    for kind, given in argument.moves:
        x = moved(x, kind, given)
    if isinstance(argument, Pick):
        return x if argument.choices.dtype.kind == "b" else (
            f"ad.getitem({shown(argument.choices)}, ({x} * 1) % {len(argument.choices)})")
    x = (f"ad.{argument.curve}({x} * {argument.scale!r} + {argument.phase!r})"
         f" * {shown(argument.radius)} + {shown(argument.centre)}")
    for kind, given in argument.layout:
        x = moved(f"({x})", kind, given)
    return x


def moved(x, kind, given):
    """A move as an expression."""
    if kind == "take":
        return f"ad.reshape({x}, (-1,))[{shown(given)}]"
    if kind == "getitem":
        return f"{x}[{given!r}]"
    if kind == "real":
        return f"ad.real({x})"
    if kind == "cast":
        return f"{x}.astype({given!r})"
    return f"row({kind!r})({x}, {'axes' if kind == 'transpose' else 'shape'}={given!r})"


def source(program, weights):
    """The program as Python that stands alone; `ad.check` at its end shows the fault."""
    names = ["_".join(map(str, key)) for key in program.leaves]
    lines = [HEAD, ""]
    lines += [f"{n} = {shown(x)}" for n, x in zip(names, program.leaves.values(), strict=True)]
    lines += ["", "", f"def f({', '.join(names)}):"]
    totals = []
    for s in program.steps:
        call = f"row({s.name!r})" if s.name in REGISTRY else f"ad.{s.name}"
        params = "".join(f", {k}={shown(v)}" for k, v in s.params.items())
        count = len(weights.get(s.number) or [None])
        y = f"y_{s.number}"
        lines.append(f"    {y}_0 = {call}({', '.join(map(written, s.arguments))}{params})")
        if count > 1:
            lines[-1] = lines[-1].replace(f"{y}_0 =", f"{y} =", 1)
            lines += [f"    {y}_{k} = ad.item({y}, index={k}) if isinstance({y}, ad.Tensor) "
                      f"else {y}[{k}]" for k in range(count)]
        for k, w in enumerate(weights.get(s.number) or []):
            if w is not None and w.dtype.kind == "c":
                totals.append(f"(ad.real({y}_{k}) * {shown(w.real)}).sum()"
                              f" + (ad.imag({y}_{k}) * {shown(w.imag)}).sum()")
            elif w is not None:
                totals.append(f"({y}_{k} * {shown(w)}).sum()")
    lines.append("    return [" + ",\n            ".join(totals) + "]")
    lines += ["", "", f"print(ad.check(f, {', '.join(names)}))"]
    return "\n".join(lines)
