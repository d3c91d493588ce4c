"""The rows: one statement per operation, and no engine code."""

from . import (
    arithmetic,
    complexes,
    exponential,
    index,
    linalg,
    network,
    reduce,
    select,
    several,
    shape,
    trigonometric,
    write,
)

__all__ = [
    "arithmetic", "complexes", "exponential", "index", "linalg", "network", "reduce", "select",
    "several", "shape", "trigonometric", "write"]
