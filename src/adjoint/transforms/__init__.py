"""Functions of functions: grad, vjp, jvp, jacobian, hessian, vmap, checkpoint, control flow."""

from .batching import vmap
from .checkpointing import checkpoint
from .control import cond, fori_loop, map, scan, while_loop
from .gradients import grad, hvp, jvp, linearize, value_and_grad, vjp
from .jacobians import hessian, jacobian

__all__ = ["checkpoint", "cond", "fori_loop", "grad", "hessian", "hvp", "jacobian", "jvp",
           "linearize", "map", "scan", "value_and_grad", "vjp", "vmap", "while_loop"]
