"""What went wrong, and where: the doctor for NaN and infinity, and the kinks.

Start reading at `doctoring.py`. ``watching.py`` says how a block sees every operation (behind the
engine's ``armed`` switch, so that nothing is paid without it); ``parts.py`` takes Boxes apart into
arrays and finds elements in them; ``ways.py`` knows lines, names and the way back to a parameter;
``show/remedies.py`` is the table of what to write instead; ``report.py`` what comes out;
``branching.py`` is about points where the one-sided derivatives differ.
"""

from .branching import kinks
from .doctoring import diagnose, doctor
from .report import Finding, Report

__all__ = ["Finding", "Report", "diagnose", "doctor", "kinks"]
