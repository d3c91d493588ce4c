"""The Sphinx extension that writes formulas as MathML while the site is built.

What the converter does not know is a warning, and `go.py docs` turns warnings into errors.
"""

from html import escape

from docutils import nodes
from formulas import LatexError, mathml
from sphinx.util import logging

log = logging.getLogger(__name__)


def converted(node, *, display):
    """Return the MathML of a node, or a warning and the LaTeX itself if it cannot be had."""
    text = node.astext().strip()
    try:
        return mathml(text, display=display)
    except LatexError as error:
        log.warning("no MathML for %r: column %s", text, error, location=node)
        return escape(text)


def visit_inline(self, node):
    self.body.append('<span class="math">' + converted(node, display=False) + "</span>")
    raise nodes.SkipNode


def visit_display(self, node):
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(converted(node, display=True))
    if node["number"]:
        self.body.append(f'<span class="eqno">({node["number"]})</span>')
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None),
                               block_renderers=(visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
