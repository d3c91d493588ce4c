"""What a derivative looks like: `explain` a run, and pictures. Reads graphs, makes none."""

from .explanation import Explanation, explain
from .pictures import check_picture, loss_curve

__all__ = ["Explanation", "check_picture", "explain", "loss_curve"]
