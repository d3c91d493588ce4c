"""Linear algebra, under NumPy's names.

``ad.linalg.solve(a, b)`` is also what ``np.linalg.solve`` does with tensors. The rows stand in
``ops/solve.py``, ``ops/factor.py``, ``ops/spectral.py`` and ``ops/norms.py``; nothing is computed
here.
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
