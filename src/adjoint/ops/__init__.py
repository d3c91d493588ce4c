"""The rows: one statement per operation, and no engine code."""

from . import arithmetic, exponential, index, linalg, reduce, select, several, shape, trigonometric

__all__ = ["arithmetic", "exponential", "index", "linalg", "reduce", "select", "several", "shape", "trigonometric"]
