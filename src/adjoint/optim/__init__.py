"""Optimisers with PyTorch's update formulas: SGD, Adam, AdamW, and the base to write one's own."""

from .methods import SGD, Adam, AdamW
from .optimizer import Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
