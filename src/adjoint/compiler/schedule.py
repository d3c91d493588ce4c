"""What fusing decides: groups of statements that are computed together, and where each is kept.

Start reading at `Schedule`; ``fuse.py`` makes one.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from adjoint.modes import line_of

if TYPE_CHECKING:
    from adjoint.ops.loops import Index, Shape

    from .program import Program

    Reading = tuple[int, Index, Shape]


class Pass:
    """Loops over the axes of ``space`` behind the outer ones, computing ``roots`` together.

    ``operations`` are what one point computes, ``curves`` those of them that are long formulas.
    ``itemsize`` says whether there are floats, and how many bytes the largest (or else the largest
    integer) has: indices do not make vectors shorter.
    """

    def __init__(self, space: Shape) -> None:
        self.space = space
        self.roots: list[int] = []
        self.operations, self.curves, self.itemsize = 0, 0, (False, 1)


class Group:
    """One kernel: ``depth`` outer loops over leading axes, and passes inside them.

    ``kind`` is nest, or the name of the statement that has the kernel for itself; of a dot the
    other roots are computed from its value where it is made. ``rows`` are how many turns of the
    outer loop are computed at once, one in each lane; 0 where lanes are elements of a row.
    """

    def __init__(self, kind: str, depth: int = 0) -> None:
        self.kind, self.depth, self.flat = kind, depth, False
        self.passes: list[Pass] = []
        self.reads: set[int] = set()     # stored statements of elsewhere
        self.found: dict[Reading, int] = {}
        self.room, self.work = 0, 0      # bytes of temporaries at most; costs
        self.rows = 0

    @property
    def outer(self) -> Shape:
        """The sizes of the outer loops."""
        return self.passes[0].space[:self.depth]

    @property
    def roots(self) -> list[int]:
        """All that it stores or keeps."""
        return [r for p in self.passes for r in p.roots]


class Schedule:
    """Groups in order. ``stored`` are in memory, ``registers`` only inside their group.

    ``temporaries`` are stored for one outer index of their group. ``readers`` are the groups that
    read a stored statement. ``aliases`` are another stored statement under another shape,
    from one of its elements on.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.groups: list[Group] = []
        self.at: dict[int, tuple[int, int]] = {}
        self.stored: set[int] = set()
        self.registers: set[int] = set()
        self.temporaries: set[int] = set()
        self.readers: dict[int, set[int]] = {}
        self.aliases: dict[int, tuple[int, int]] = {}

    def space(self, n: int) -> Shape:
        """The axes that the loops of a root run over."""
        s = self.program.statements[n]
        known = self.program.statements[s.inputs[0]].known if s.name == "reduce" else s.known
        return () if isinstance(known, tuple) else known.shape

    def extent(self, n: int) -> int:
        """The number of elements of the buffer of a stored statement."""
        shape = self.program.statements[n].known.shape
        if n not in self.temporaries:
            return prod(shape)
        group = self.groups[self.at[n][0]]
        return prod(shape[group.depth:]) * max(group.rows, 1)

    def carried(self, n: int) -> bool:
        """Whether a root is complete only after the outer loops: a sum over their axis."""
        s = self.program.statements[n]
        group = self.groups[self.at[n][0]]
        return s.name == "reduce" and group.kind == "nest" and group.depth > 0 and (
            0 in s.parameters[1])

    def made(self, group: Group) -> list[int]:
        """What a kernel stores of what it computes."""
        return [r for r in group.roots if r not in self.registers]

    def show(self) -> str:
        """The groups with their passes and what each reads and stores, and the lines of users."""
        lines: list[str] = []
        for k, group in enumerate(self.groups):
            read = ", ".join(f"%{n}" for n in sorted(group.reads))
            flat = " flat" if group.flat else f" of {group.rows} rows" if group.rows else ""
            lines.append(f"kernel {k}: {group.kind}{flat} over {group.outer} reads {read}")
            for pass_ in group.passes:
                made = ", ".join(f"%{r} {self.kept(r)}" for r in sorted(pass_.roots))
                lines.append(f"    pass over {pass_.space[group.depth:]}: {made}"
                             + self.told(pass_.roots))
        return "\n".join(lines)

    def kept(self, n: int) -> str:
        """Where a root is kept, in a word."""
        name = self.program.statements[n].name
        where = "register" if n in self.registers else "temporary" if n in self.temporaries else (
            "stored")
        return f"{name} {where}"

    def told(self, roots: list[int]) -> str:
        """The lines of the user's program that roots come from."""
        sites = {site for r in roots for site in self.program.sites.get(r, ()) if site is not None}
        lines = sorted({"{}:{}".format(*line_of(site)) for site in sites})
        return f"    # {', '.join(lines)}" if lines else ""


def straight(space: Shape) -> Index:
    """The index of a space at itself; 0 along axes of size 1, as views say it."""
    return tuple([(0, ((d, 1),)) if n > 1 else (0, ()) for d, n in enumerate(space)])
