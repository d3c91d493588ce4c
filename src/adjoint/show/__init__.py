"""What a derivative looks like: `explain` a run, and pictures. Reads graphs, makes none.

`README.md` beside this file says in which order to read the modules.
"""

from .chain import Chain
from .derivation import Derivation
from .explanation import Explanation, explain
from .graph import Picture
from .influence import Influence
from .paths import Path, Paths
from .pictures import check_picture, loss_curve
from .record import Record, Step
from .sheet import Sheet
from .walks import Walk
from .words import Why, Whys

__all__ = ["Chain", "Derivation", "Explanation", "Influence", "Path", "Paths", "Picture", "Record",
           "Sheet", "Step", "Walk", "Why", "Whys", "check_picture", "explain", "loss_curve"]
