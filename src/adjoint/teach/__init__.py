"""The teaching face: the value classes of courses on derivatives, on the library's one engine.

========================  =====================================================================
ForwardValue              carries its derivative by every input as it goes (forward mode)
AutogradValue             remembers its parents; backward() goes back (reverse mode)
Autograd, Operation       a list of operations that the user writes down, on NumPy arrays
Value                     one number, fast; with Neuron, Layer and MLP, and a picture of its graph
========================  =====================================================================

Start with `classes.py`: `AutogradValue` is a Node of the engine's graph, a subclass of it with
``func`` and ``grads`` is a row, and ``backward`` is the engine's sweep (``core/reverse.py``). The
underscored names are the operations that the operators make: ``isinstance(x ** 2, _square)``.
"""

from .classes import (
    AutogradValue,
    ForwardValue,
    _add,
    _cos,
    _div,
    _exp,
    _log,
    _matmul,
    _mul,
    _neg,
    _power,
    _relu,
    _sin,
    _square,
    _sub,
    _tanh,
)
from .operations import (
    Autograd,
    MemoryBuffer,
    Operation,
    add_backward,
    backward_of,
    div_backward,
    exp_backward,
    log_backward,
    matmul_backward,
    mul_backward,
    relu_backward,
    sigmoid_backward,
    sub_backward,
    tanh_backward,
)
from .scalar import MLP, Layer, Module, Neuron, Value

__all__ = [
    "MLP", "Autograd", "AutogradValue", "ForwardValue", "Layer", "MemoryBuffer", "Module", "Neuron",
    "Operation", "Value", "_add", "_cos", "_div", "_exp", "_log", "_matmul", "_mul", "_neg",
    "_power", "_relu", "_sin", "_square", "_sub", "_tanh", "add_backward", "backward_of",
    "div_backward", "exp_backward", "log_backward", "matmul_backward", "mul_backward",
    "relu_backward", "sigmoid_backward", "sub_backward", "tanh_backward"]
