"""A diagram into a file; the ending of its name says which kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from adjoint.errors import FormatError

from .diagram import Diagram
from .markup import dot, mermaid
from .png import need_matplotlib, pdf, png
from .svg import svg

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDINGS = (".svg", ".png", ".pdf", ".dot", ".gv", ".mmd")
WITH_MATPLOTLIB = (".png", ".pdf")


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path, or an error now if no picture can be written there.

    Raises FormatError for an unknown ending or a folder that does not exist, and
    MissingPackageError for .png and .pdf without matplotlib.

    >>> from adjoint import drawing
    >>> drawing.check_path("graph.svg").name
    'graph.svg'
    """
    path = ended(path, "a picture of a graph", ENDINGS)
    if path.suffix.lower() in WITH_MATPLOTLIB:
        need_matplotlib()
    return path


def ended(path: str | os.PathLike[str], what: str, endings: Sequence[str]) -> Path:
    """The path of ``what``, or FormatError: another ending, or no folder to write into.

    >>> from adjoint.drawing.files import ended
    >>> ended("loss.PNG", "a picture", (".png", ".pdf")).name
    'loss.PNG'
    """
    path = Path(path)
    if path.suffix.lower() not in endings:
        raise FormatError(f"the name of {what} ends in {', '.join(endings)}, not {path.name!r}; "
                          f"write {(path.stem or 'picture') + endings[0]}")
    if path.is_dir() or not path.parent.is_dir():
        why = "is a folder" if path.is_dir() else f"lies in {path.parent}, which does not exist"
        raise FormatError(f"no picture can be written to {path}: it {why}")
    return path


def write(diagram: Diagram, path: str | os.PathLike[str]) -> None:
    """Write a diagram into a file: .svg, .png, .pdf, .dot (or .gv) or .mmd.

    Raises as `check_path`; an existing file is replaced.

    >>> import pathlib, tempfile
    >>> from adjoint import drawing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "graph.svg"
    ...     drawing.write(drawing.Diagram([drawing.Vertex("x", lines=("x",))]), path)
    ...     path.read_text()[:4]
    '<svg'
    """
    path = check_path(path)
    ending = path.suffix.lower()
    if ending in WITH_MATPLOTLIB:
        path.write_bytes(png(diagram) if ending == ".png" else pdf(diagram))
        return
    text = {".svg": svg, ".mmd": mermaid}.get(ending, dot)(diagram)
    path.write_text(text + "\n", encoding="utf-8")
