"""Functions of functions: grad, vjp, jvp, jacobian, hessian, vmap, checkpoint."""

from .batching import vmap
from .checkpointing import checkpoint
from .gradients import grad, hvp, jvp, linearize, value_and_grad, vjp
from .jacobians import hessian, jacobian

__all__ = ["checkpoint", "grad", "hessian", "hvp", "jacobian", "jvp", "linearize",
           "value_and_grad", "vjp", "vmap"]
