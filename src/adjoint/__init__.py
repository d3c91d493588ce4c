"""adjoint: exact derivatives of NumPy programs, shown step by step.

    import adjoint as ad

Three faces on one engine: tensors with ``backward()`` (`ad.tensor`), functions of functions
(`ad.grad`, `ad.vjp`, `ad.jvp`, `ad.jacobian`, `ad.hessian`, `ad.vmap`), and value classes to learn
from (`ad.teach`). NumPy's functions work on tensors directly; the same names exist here.
"""

from __future__ import annotations

import importlib
from time import time as _time
from typing import Any

__version__ = "0.1.0"

from . import creation, errors
from .core.primitive import PUBLIC as _PUBLIC
from .creation import (
    arange,
    array,
    asarray,
    eye,
    full,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from .functions import Function
from .modes import (
    deterministic,
    enable_grad,
    is_grad_enabled,
    line_of,
    no_grad,
    set_grad_enabled,
    sites,
    strict,
    tape,
)
from .tensors import Tensor, tensor
from .transforms import (
    checkpoint,
    cond,
    fori_loop,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    linearize,
    map,
    scan,
    value_and_grad,
    vjp,
    vmap,
    while_loop,
)

_imported = _time()  # sources that are written later are not what this process runs
_ALIASES = {
    "conj": "conjugate",
    "absolute": "abs", "pow": "power", "sub": "subtract", "mul": "multiply", "div": "divide",
    "neg": "negative", "true_divide": "divide", "mod": "remainder", "permute_dims": "transpose",
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atanh": "arctanh", "atan2": "arctan2", "amax": "max", "amin": "min", "clamp": "clip",
    "concat": "concatenate", "cat": "concatenate", "expit": "sigmoid",
    "lgamma": "gammaln", "unbind": "unstack",
    "movedim": "moveaxis", "repeat_interleave": "repeat", "take_along_dim": "take_along_axis",
    "log_expit": "log_sigmoid", "logsigmoid": "log_sigmoid"}
__all__ = [  # what stands here by import; the functions of the rows are added below
    "Function", "Tensor", "arange", "array", "asarray", "checkpoint", "cond", "creation",
    "deterministic", "enable_grad", "errors", "eye", "fori_loop", "full", "grad", "hessian", "hvp",
    "is_grad_enabled", "jacobian", "jvp", "line_of", "linearize", "linspace", "map", "no_grad",
    "ones", "ones_like", "scan", "set_grad_enabled", "sites", "strict", "tape", "tensor",
    "value_and_grad", "vjp", "vmap", "while_loop", "zeros", "zeros_like"]
_LAZY = {"assert_derivatives": "checking", "check": "checking", "default_dtype": "nn",
         "diagnose": "health", "doctor": "health", "explain": "show",
         "get_threads": "compiler.threads", "jit": "compiler.jitted", "kinks": "health",
         "manual_seed": "nn", "set_threads": "compiler.threads"}
_MODULES = ("checking", "cli", "compiler", "data", "health", "linalg", "nn", "optim",
            "random", "show", "teach")
_HIDDEN = {"write_out", "annihilate", "sum_to", "cast", "cast_to_discrete", "item",
           "getitem_transpose", "sinc_derivative", "modified_bessel", "frexp_exponent",
           "random_uniform", "unwrap_shift"}

for _name, _f in _PUBLIC.items():
    if _name not in _HIDDEN and "." not in _name and _name not in globals():
        globals()[_name] = _f
for _name, _target in _ALIASES.items():
    if _target in _PUBLIC:
        globals()[_name] = _PUBLIC[_target]
__all__ += [  # pyright: ignore[reportUnsupportedDunderAll] - the stub lists them
    name for name in (*_PUBLIC, *_ALIASES) if name in globals()]
annihilate = _PUBLIC["annihilate"]
pi, e, inf, nan, newaxis = 3.141592653589793, 2.718281828459045, float("inf"), float("nan"), None


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'adjoint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY, *_MODULES})
