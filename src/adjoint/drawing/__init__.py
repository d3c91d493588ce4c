"""Drawings of graphs: records, a layered layout, and SVG, PNG, PDF, DOT and Mermaid from it.

Knows nothing of nodes and derivatives: whoever has a graph makes a `Diagram` of it. Read
`diagram` (what), `layout` (where), `scene` (how it looks), `svg` (how it is written).
"""

from .diagram import Diagram, Edge, Line, Vertex
from .files import check_path, write
from .markup import dot, mermaid
from .png import pdf, png
from .svg import svg

__all__ = ["Diagram", "Edge", "Line", "Vertex", "check_path", "dot", "mermaid", "pdf", "png",
           "svg", "write"]
