"""The rows: one statement per operation, and no engine code."""

from . import (
    activation,
    arithmetic,
    complexes,
    counting,
    exponential,
    factor,
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
    spectral,
    statistics,
    trigonometric,
    write,
)

__all__ = [
    "activation", "arithmetic", "complexes", "counting", "exponential", "factor", "index",
    "linalg", "network", "reduce", "scans", "select", "several", "shape", "solve", "sorting",
    "special", "spectral", "statistics", "trigonometric", "write"]
