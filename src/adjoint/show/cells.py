"""What a `Sheet` is made of: a Cell carries the exact value and how it is printed.

A `Cell` in a `Row` under a `Column`; where parts of one cell are marked differently, each is a
`Piece`. Text that comes from a user's program goes through `clean` before it reaches any output.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adjoint.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEW, ALREADY, ACCUMULATES = "new factor", "already computed", "accumulates"
MUTED, BAD = "muted", "bad"
ROLES = (NEW, ALREADY, ACCUMULATES, MUTED, BAD)
KINDS = ("text", "number", "math", "code")
ALIGN = ("left", "center", "right")
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, invisible, half a pair, line separators


def clean(text: str) -> str:
    r"""Text with what cannot be seen written out: ``\n``, ``\x1b``, ``\u202e``.

    A name may hold a line break, a terminal's escape sequence or a sign that turns the direction
    of writing; printed raw they would reshape the table.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if unicodedata.category(c) not in HIDDEN
                   else c.encode("unicode_escape").decode() for c in text)


def known(what: str, name: str, names: tuple[str, ...]) -> None:
    """Raises ArgumentError for a name that is not among ``names``."""
    if name not in names:
        raise ArgumentError(f"{what} {name!r} is not known; write one of "
                            + ", ".join(repr(n) for n in names if n))


@dataclass(frozen=True, slots=True)
class Piece:
    r"""A part of a cell with a mark of its own: ``text``, its LaTeX (math mode) and a role.

    ``latex`` stands as it is between dollars; without one it is made from the text. Raises
    ArgumentError for a role that does not exist.

    >>> from adjoint.show.cells import ALREADY, NEW, Piece
    >>> Piece("cos(v2)", r"\cos v_2", NEW).role
    'new factor'
    """

    text: str
    latex: str | None = None
    role: str = ""

    def __post_init__(self) -> None:
        known("the role", self.role, ("", *ROLES))


@dataclass(frozen=True, slots=True)
class Cell:
    r"""One cell: the exact ``value`` beside how it is printed.

    Args:
        value: What CSV and dict hold: a number, array, text, or None to take the printed text.
        text: How it is printed, in Unicode; None formats the value. Several Pieces where parts of
            it are marked.
        latex: The same for LaTeX, in math mode and trusted (see `typesetting.latex_name`);
            None makes it from the text.
        role: What its colour says: one of `ROLES`. NaN and infinities are "bad" by themselves.

    Raises ArgumentError for a role that does not exist.

    >>> from adjoint.show.cells import ALREADY, NEW, Cell, Piece
    >>> Cell(0.284, "cos(v2)", r"\cos v_2", NEW).value
    0.284
    >>> Cell(0.284, [Piece("v̄5", r"\bar v_5", ALREADY), Piece(" · "), Piece("cos(v2)")]).value
    0.284
    """

    value: Any = None
    text: str | Sequence[Piece] | None = None
    latex: str | None = None
    role: str = ""

    def __post_init__(self) -> None:
        known("the role", self.role, ("", *ROLES))


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its key in CSV and dict, its heading, and what stands in it.

    Args:
        key: The name in CSV, in dict and in rows that are mappings.
        heading: What is printed above; "" takes the key.
        align: "left", "center" or "right"; "" lets the kind choose (numbers stand point under
            point).
        kind: "text", "number", "math" (v1 becomes a letter with an index) or "code".
        group: A heading over this and the neighbouring columns of the same group.

    Raises ArgumentError for a kind or alignment that does not exist.

    >>> from adjoint.show.cells import Column
    >>> Column("adjoint", kind="number", group="reverse adjoints").title
    'adjoint'
    """

    key: str
    heading: str = ""
    align: str = ""
    kind: str = "text"
    group: str = ""

    def __post_init__(self) -> None:
        known(f"column {self.key!r}: the kind", self.kind, KINDS)
        known(f"column {self.key!r}: the alignment", self.align, ("", *ALIGN))

    @property
    def title(self) -> str:
        """What is printed above the column."""
        return clean(self.heading or self.key)

    @property
    def side(self) -> str:
        """The alignment, chosen by the kind where none was given."""
        return self.align or ("right" if self.kind == "number" else "left")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: cells by key (what is missing stays empty) or in order; its group and role.

    Neighbouring rows of the same ``group`` (a layer, say) stand under a heading, collapsible in
    HTML; ``role`` holds for cells that have none of their own.

    >>> from adjoint.show.cells import Row
    >>> Row({"step": "v1", "value": 2.0}, group="layer 1").group
    'layer 1'
    """

    cells: Mapping[str, Any] | Sequence[Any] = field(default_factory=tuple)
    group: str = ""
    role: str = ""

    def __post_init__(self) -> None:
        known("the role", self.role, ("", *ROLES))
