"""The rows: one statement per operation, and no engine code."""

from . import (
    activation,
    arithmetic,
    arrange,
    assemble,
    complexes,
    counting,
    exponential,
    factor,
    index,
    linalg,
    network,
    norms,
    reduce,
    scans,
    select,
    series,
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
    "activation", "arithmetic", "arrange", "assemble", "complexes", "counting", "exponential",
    "factor", "index", "linalg", "network", "norms", "reduce", "scans", "select", "series",
    "several", "shape", "solve", "sorting", "special", "spectral", "statistics",
    "trigonometric", "write"]
