"""Pictures of a training. This is the one place that imports matplotlib."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from adjoint.drawing.files import ended
from adjoint.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

FORMATS = (".png", ".svg", ".pdf", ".jpg", ".jpeg")
COLOURS = ("#1f5fa8", "#d1495b", "#3a7d44", "#8a5a99")
INK, FAINT = "#333333", "#d9d9d9"


def check_picture(path: str | os.PathLike[str]) -> None:
    """An error now, not after the training, if a picture cannot be written to ``path``.

    Raises FormatError for an unknown file ending or a folder that does not exist, and
    MissingPackageError without matplotlib.

    >>> ad.show.check_picture("loss.png")
    """
    ended(path, "a picture", FORMATS)
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingPackageError("The picture of the loss is drawn by matplotlib", "matplotlib")


def loss_curve(losses: Mapping[str, Sequence[float]], path: str | os.PathLike[str], title: str
               ) -> None:
    """Draw losses over epochs, one curve for each name, on a logarithmic axis, into a file.

    ``losses`` are {name: one positive number for each epoch}; the file's ending says which format.
    Raises as `check_picture`, and ArgumentError if there is nothing to draw.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "loss.svg"
    ...     ad.show.loss_curve({"training": [1.0, 0.1]}, path, "An example")
    ...     path.exists()
    True
    """
    check_picture(path)
    if not losses or not all(losses.values()):
        raise ArgumentError("loss_curve: there is no loss to draw; give one number for each epoch")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    figure = Figure(figsize=(7.2, 4.5), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    for (name, values), colour in zip(losses.items(), COLOURS, strict=False):
        epochs = range(1, len(values) + 1)
        axes.plot(epochs, values, color=colour, linewidth=2.0, marker="o", markersize=3.5)
        axes.annotate(f"{name}\n{values[-1]:.2g}", (len(values), values[-1]), (8, 0),
                      textcoords="offset points", va="center", color=colour, fontsize=10)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("cross-entropy loss (log scale)")
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    epochs = max(map(len, losses.values()))
    ticks = MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]).tick_values(1, epochs)
    axes.set_xticks([1, *[int(t) for t in ticks if 1.5 < t <= epochs]])
    _tidy(axes, epochs)
    figure.savefig(path)


def _tidy(axes: Any, epochs: int) -> None:
    """A quiet frame, and room at the right for the names of the curves."""
    axes.set_xlim(0.5, epochs + 0.18 * max(epochs, 3))
    axes.grid(visible=True, which="major", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
