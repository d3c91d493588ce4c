"""Networks: modules that hold their parameters, the usual layers, and losses.

`modules` is the tree of layers, `layers` and `losses` are its leaves, `functional` is the
arithmetic behind them, and `settings` says with which dtype and from which random numbers
parameters are made.
"""

from . import functional
from .layers import Dropout, Flatten, Linear, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .losses import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss, NLLLoss
from .modules import Module, Sequential
from .settings import default_dtype, manual_seed

__all__ = [
    "BCEWithLogitsLoss", "CrossEntropyLoss", "Dropout", "Flatten", "Linear", "LogSoftmax",
    "MSELoss", "Module", "NLLLoss", "ReLU", "Sequential", "Sigmoid", "Softmax", "Tanh",
    "default_dtype", "functional", "manual_seed"]
