"""What an explanation is about: the steps of one run, with names, values and places.

`Step` is a vertex (an input, a constant or an operation) and `Record` all of them in the order in
which they were made. Tables, paths, derivations, pictures and words are read off a Record; none of
them looks at a Node. How a step pulls cotangents back and pushes tangents forward stands in its
`Rules`, because the teaching classes have rules of their own.
"""

from __future__ import annotations

import difflib
import gc
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from adjoint.errors import ArgumentError
from adjoint.hooks import HOOK

from .places import located

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from adjoint.core.primitive import Primitive

FIRST = 8  # names that an error lists
INPUT, CONSTANT, SKIPPED, OPERATION = "input", "constant", "skipped", "operation"
DIFFERENTIATED = frozenset({INPUT, OPERATION})
ARRAYS = {np.ndarray, np.float64}  # what values are nearly always; they know their shape at once


class Place(NamedTuple):
    """Where a step was asked for; ``file`` is empty where nothing is known."""

    file: str
    line: int
    text: str

    @property
    def source(self) -> str:
        """The file as it is shown: short, and of a notebook's cell no path of the machine."""
        if "ipykernel" in self.file or self.file.startswith("<ipython"):
            return "this notebook"
        return self.file if self.file.startswith("<") else Path(self.file).name

    def __str__(self) -> str:
        return f"line {self.line} of {self.source}" if self.file else "no line"


@contextmanager
def uncollected() -> Generator[None]:
    """A block, or a function, that makes many objects and drops none: no search for cycles.

    Python would walk over all that is made again and again, a third of the time of a long program.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


class Rules(Protocol):
    """How the steps of one engine are differentiated."""

    def pull(self, step: Step, dy: Any) -> Sequence[Any]:
        """The cotangent of each input of ``step``, not yet summed to its shape; None is zero."""
        ...

    def quietly(self, step: Step, dy: Any) -> Sequence[Any]:
        """The same inside ``np.errstate(all="ignore")``, which is worth it for many steps."""
        ...

    def push(self, step: Step, dxs: Sequence[Any]) -> Any:
        """The tangent of ``step`` for the tangents of its inputs; None is zero."""
        ...


@dataclass(slots=True, eq=False, weakref_slot=True)
class Step:
    """One vertex: ``name = row(*inputs) = value``.

    ``kind`` is "input" (a gradient is asked of it), "skipped" (an argument of which none is asked),
    "constant" or "operation". ``number`` counts inputs and operations from 1; constants have 0.
    ``users`` are the uses: pairs of a later step and the position of this one among its inputs.
    ``group`` is the way down the layers and functions in which the step was made.
    """

    kind: str
    node: Any
    row: Primitive
    value: Any
    inputs: tuple[Step, ...] = ()
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    name: str = ""
    number: int = 0
    named: bool = False  # by the source, not by its number
    given: str = ""  # the name in the source, whatever ``name`` is
    group: tuple[str, ...] = ()
    site: Any = None
    picked: int | None = None  # which result of a row that has several
    within: weakref.ref[Record] | None = None  # weak, so that a Record goes with its last name

    @property
    def users(self) -> list[tuple[Step, int]]:
        """The uses of this step, while its Record lives."""
        record = None if self.within is None else self.within()
        return [] if record is None else record.uses.get(self, [])

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        x = self.value
        return x.shape if x.__class__ in ARRAYS else np.shape(x)

    @property
    def size(self) -> int:
        """Number of elements."""
        x = self.value
        return x.size if x.__class__ in ARRAYS else int(np.size(x))

    @property
    def dtype(self) -> Any:
        """The NumPy dtype of the value."""
        x = self.value
        return x.dtype if x.__class__ in ARRAYS else np.asarray(x).dtype

    @property
    def differentiated(self) -> bool:
        """Whether a derivative flows through it."""
        return self.kind in DIFFERENTIATED

    @property
    def is_hook(self) -> bool:
        """Whether it is a hook of the user's: the value as it is, and on the way back a function.

        Its partial is 1, and what it answers is no product with that.
        """
        return self.row is HOOK

    @property
    def place(self) -> Place:
        """The line that asked for it."""
        return Place(*located(self.site))

    def __repr__(self) -> str:
        if self.kind != OPERATION:
            return f"{self.name}: {self.kind} {self.shape}"
        return f"{self.name} = {self.row}({', '.join(i.name for i in self.inputs)})"


class Cut(NamedTuple):
    """A place where a derivative ends: ``row`` made a constant of what depends on ``source``."""

    row: Primitive
    source: Step
    place: Place


class Record:
    """The steps of one run: ``steps`` holds inputs and operations in order, without constants."""

    def __init__(self, steps: Sequence[Step], constants: Sequence[Step], output: Step, rules: Rules,
                 title: str, cuts: Sequence[Cut] = ()) -> None:
        self.steps, self.constants, self.output = list(steps), list(constants), output
        self.rules, self.title, self.cuts = rules, title, list(cuts)
        self.remarks: list[str] = []  # what a reader of any table has to know
        own: weakref.ref[Record] = weakref.ref(self)
        for s in (*self.constants, *self.steps):
            s.within = own

    @cached_property
    def by_name(self) -> dict[str, Step]:
        """The steps by their names, by v and their number, and by their names in the source."""
        found = {s.name: s for s in (*self.constants, *self.steps)}
        for s in self.steps:
            found.setdefault(f"v{s.number}", s)
            if s.given:
                found.setdefault(s.given, s)
        return found

    @cached_property
    def uses(self) -> dict[Step, list[tuple[Step, int]]]:
        """For each step that is used the steps that use it, and the position of each use."""
        found: dict[Step, list[tuple[Step, int]]] = {}
        for step in self.steps:
            for k, source in enumerate(step.inputs):
                found.setdefault(source, []).append((step, k))
        return found

    @property
    def inputs(self) -> list[Step]:
        """The steps that gradients are asked of."""
        return [s for s in self.steps if s.kind == INPUT]

    @property
    def operations(self) -> list[Step]:
        """The steps that compute."""
        return [s for s in self.steps if s.kind == OPERATION]

    def find(self, name: str | Step) -> Step:
        """The step of this name; raises ArgumentError, which names those that are close."""
        if isinstance(name, Step):
            return name
        found = self.by_name.get(name)
        if found is None:
            close = difflib.get_close_matches(str(name), self.by_name, 3, 0.4)
            known = close or [s.name for s in self.steps[:FIRST]]
            more = " and others" if not close and len(self.steps) > FIRST else ""
            raise ArgumentError(f"there is no step named {name!r}; there is {', '.join(known)}"
                                f"{more}. e.table() lists the names.")
        return found

    def behind(self, targets: Iterable[Step]) -> list[Step]:
        """The differentiated steps that ``targets`` depend on, themselves included, in order."""
        reached = set(targets)
        found: list[Step] = []
        for step in reversed(self.steps):
            if step in reached:
                found.append(step)
                reached.update(step.inputs)
        return found[::-1]

    def after(self, source: Step) -> list[Step]:
        """The steps that depend on ``source``, itself included, in order."""
        reached = {source}
        for step in self.steps:
            if not reached.isdisjoint(step.inputs):
                reached.add(step)
        return [s for s in self.steps if s in reached]
