"""The exception tree. Every message says what was wrong and, after it, what to write instead.

All are subclasses of `AdjointError` and of the built-in class that a NumPy or PyTorch user would
catch.
"""

import linecache
import sys

from numpy.linalg import LinAlgError

INSIDE = ("adjoint", "numpy", "scipy")


def users_line() -> str:
    """The first line outside the libraries that led here, as a traceback would show it."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
        frame = frame.f_back
    if frame is None:
        return ""
    name, number = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(name, number, frame.f_globals).strip()
    return f"\n  at {name}, line {number}" + (f": {text}" if text else "")


class AdjointError(Exception):
    """The base of every error raised on purpose; the user's line stands under the message."""

    def __init__(self, message: str = "") -> None:
        self.message, self.where = message, users_line()
        super().__init__(message + self.where)


class ShapeError(AdjointError, ValueError):
    """Shapes, axes or sizes that do not fit each other."""


class MatrixError(AdjointError, LinAlgError):
    """A matrix that is singular, not positive definite, or whose equal eigenvalues matter."""


class DTypeError(AdjointError, TypeError):
    """A dtype that cannot do what was asked, such as a gradient of an integer."""


class ArgumentError(AdjointError, TypeError):
    """An argument of a kind that the function does not take."""


class IndexingError(AdjointError, IndexError):
    """An index out of range, or of a kind that arrays do not know."""


class GraphError(AdjointError, RuntimeError):
    """The graph cannot give what was asked: nothing recorded, freed already, not a leaf."""


class EscapeError(AdjointError, RuntimeError):  # Python and NumPy replace a TypeError by their own
    """A tracked value would leave the graph silently, as in ``float(x)`` or ``np.asarray(x)``."""

    def __init__(self, message: str = "") -> None:
        if not any(word in message for word in ("rite ", "ompose ", "se ", "ad.")):
            message += ": a tracked value would leave the graph; write x.item()"  # f2py's own words
        super().__init__(message)


class LevelError(AdjointError, RuntimeError):
    """A value of a transformation that has ended, or of another trace, is used outside it."""


class MutationError(AdjointError, RuntimeError):
    """A write that would reach another array, or change a leaf behind the graph."""


class UnsupportedError(AdjointError, TypeError):
    """A function or option that has no row here; the message names the nearest thing that has."""


class RuleError(AdjointError, TypeError):
    """A row whose rules do not fit: a missing derivative, a cotangent of a wrong shape."""


class CheckError(AdjointError, AssertionError):
    """`ad.check` found a derivative that its tests contradict."""


class UnusedInputError(AdjointError, ValueError):
    """The result does not depend on an input, and ``on_unused="error"`` was asked for."""


class NonFiniteError(AdjointError, FloatingPointError):
    """`ad.doctor` found the operation that made a NaN or an infinity; ``report`` says which."""

    def __init__(self, message: str = "", report: object = None) -> None:
        self.report = report
        super().__init__(message)


class NonFiniteWarning(RuntimeWarning):
    """What `ad.doctor("warn")` says instead."""


class KinkError(AdjointError, ArithmeticError):
    """`ad.kinks("raise")` saw an evaluation on a kink, where the derivative is a convention."""


class KinkWarning(RuntimeWarning):
    """What `ad.kinks("warn")` says instead."""


class CompileWarning(RuntimeWarning):
    """`ad.jit` runs a function otherwise than users expect, and says so once."""


class FormatError(AdjointError, ValueError):
    """A file that is damaged, or not in the format that was expected."""


class FormulaError(AdjointError, ValueError):
    """A formula that cannot be read; ``position`` is the character in ``text`` where it fails."""

    def __init__(self, message: str = "", text: str = "", position: int = 0) -> None:
        self.text, self.position = text, position
        super().__init__(message)


class MissingPackageError(AdjointError, ImportError):
    """An optional package is not installed; the message has the line that installs it."""

    def __init__(self, what: str, package: str) -> None:
        self.package = package
        super().__init__(f"{what}, which is not installed here. Type: "
                         f"{sys.executable or 'python'} -m pip install {package}")


def escape(what: str, remedy: str) -> EscapeError:
    """The error for a value that would leave the graph."""
    return EscapeError(
        f"{what} of a tracked value would cut it out of the graph, and its gradient would silently "
        f"be lost. Write {remedy}; x.detach().numpy() or x.item() where the plain number is meant.")
