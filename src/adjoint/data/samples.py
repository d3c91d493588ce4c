"""Data sets that come with other packages. This is the one place that imports scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from adjoint.errors import MissingPackageError


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The 1,797 handwritten digits that ship with scikit-learn.

    Returns the images, (1797, 64) float64 with values 0 to 16, eight rows of eight pixels each, and
    the labels, (1797,) int64. Raises MissingPackageError without scikit-learn. Source: Alpaydin and
    Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.

    >>> x, labels = ad.data.digits()
    >>> x.shape, labels.shape
    ((1797, 64), (1797,))
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise MissingPackageError("The digits ship with scikit-learn", "scikit-learn") from e
    x, labels = load_digits(return_X_y=True)
    return x.astype(np.float64), labels.astype(np.int64)
