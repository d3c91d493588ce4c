"""The exception tree. Every message says what was wrong and, after it, what to write instead.

All are subclasses of `AdjointError` and of the built-in class that a NumPy or PyTorch user would catch.
"""


class AdjointError(Exception):
    """The base of every error that this library raises on purpose."""


class ShapeError(AdjointError, ValueError):
    """Shapes, axes or sizes that do not fit each other."""


class DTypeError(AdjointError, TypeError):
    """A dtype that cannot do what was asked: a gradient of an integer, an order on complex numbers."""


class ArgumentError(AdjointError, TypeError):
    """An argument of a kind that the function does not take."""


class IndexingError(AdjointError, IndexError):
    """An index out of range, or of a kind that arrays do not know."""


class GraphError(AdjointError, RuntimeError):
    """The graph cannot give what was asked: nothing recorded, freed already, not a leaf."""


class EscapeError(AdjointError, TypeError):
    """A tracked value would leave the graph silently (``float(x)``, ``np.asarray(x)``, ``math.sin(x)``)."""


class LevelError(AdjointError, RuntimeError):
    """A value of a transformation that has ended, or of another trace, is used outside it."""


class MutationError(AdjointError, RuntimeError):
    """A write that NumPy would let reach another array, or that would change a leaf behind the graph."""


class UnsupportedError(AdjointError, TypeError):
    """A function or option that has no row here; the message names the nearest thing that has."""


class RuleError(AdjointError, TypeError):
    """A row whose rules contradict each other: a missing derivative, a cotangent of a wrong shape."""


class CheckError(AdjointError, AssertionError):
    """`ad.check` found a derivative that is not what finite differences or the adjoint identity give."""


class UnusedInputError(AdjointError, ValueError):
    """The result does not depend on an input, and ``on_unused="error"`` was asked for."""
