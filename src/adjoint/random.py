"""Random tensors, under NumPy's names: `ad.random.normal((3,))`. See `generators.Generator`."""

from .generators import (
    COMMON,
    Generator,
    bernoulli,
    exponential,
    gumbel,
    laplace,
    normal,
    permutation,
    seed,
    uniform,
)

__all__ = ["COMMON", "Generator", "bernoulli", "exponential", "gumbel", "laplace", "normal",
           "permutation", "seed", "uniform"]
