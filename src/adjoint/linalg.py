"""Linear algebra, under NumPy's names.

``ad.linalg.solve(a, b)`` is also what ``np.linalg.solve`` does with tensors. Nothing is computed
here. The rows stand in ``ops/``: determinant.py, solve.py, products.py, spectral.py (eigenvalues),
factor.py, norms.py, least_squares.py and matrix_functions.py.
"""

from __future__ import annotations

from typing import Any

from .core.primitive import PUBLIC as _PUBLIC

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll] - made from the table
    name.removeprefix("linalg.") for name in _PUBLIC
    if name.startswith("linalg.") and "._" not in name]


def __getattr__(name: str) -> Any:
    raise AttributeError(f"ad.linalg has no {name!r}; it has {', '.join(sorted(__all__))}")


globals().update({_name: _PUBLIC["linalg." + _name] for _name in __all__})
