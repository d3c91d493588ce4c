"""What a derivative looks like: trace tables of a tape, and pictures. Reads graphs, makes none."""

from .explanation import Explanation, explain
from .pictures import check_picture, loss_curve
from .tables import Trace, forward_table, read, reverse_table

__all__ = ["Explanation", "Trace", "check_picture", "explain", "forward_table", "loss_curve", "read", "reverse_table"]
