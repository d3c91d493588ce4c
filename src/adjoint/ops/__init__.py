"""The rows: one statement per operation, and no engine code."""

from . import (
    activation,
    arithmetic,
    complexes,
    exponential,
    index,
    linalg,
    network,
    reduce,
    scans,
    select,
    several,
    shape,
    solve,
    sorting,
    special,
    trigonometric,
    write,
)

__all__ = [
    "activation", "arithmetic", "complexes", "exponential", "index", "linalg", "network",
    "reduce", "scans", "select", "several", "shape", "solve", "sorting", "special",
    "trigonometric", "write"]
