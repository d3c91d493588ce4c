"""Data: the handwritten digits, MNIST's file format, and what comes before training."""

from .preparation import Scaler, batches, split, standardise
from .readers import idx
from .samples import digits

__all__ = ["Scaler", "batches", "digits", "idx", "split", "standardise"]
