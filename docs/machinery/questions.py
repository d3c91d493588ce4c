"""What the front matter of a page adds to it: its question on top, its check at the bottom.

Cells tagged `golden` are for the tests alone and leave the page. An error on a page is a warning.
"""

import json

from docutils import nodes
from docutils.core import publish_doctree
from myst_parser.parsers.docutils_ import Parser
from sphinx.util import logging

log = logging.getLogger(__name__)

EXTENSIONS = ["dollarmath", "amsmath", "deflist"]
CHECKED = ("Checked on every change: the numbers of this page against {keys}, computed with sixty "
           "digits, to a relative error of 1e-12; and that each of them follows when {changed} is "
           "another.")


def parsed(markdown):
    """Return the nodes that `markdown` stands for."""
    settings = {"myst_enable_extensions": EXTENSIONS, "output_encoding": "unicode"}
    document = publish_doctree(markdown, parser=Parser(), settings_overrides=settings)
    return [child for child in document.children if not isinstance(child, nodes.system_message)]


def listed(names):
    """Return "`a`, `b` and `c`"."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def value_of(field):
    """Return a field of the front matter, which docutils holds as text."""
    return json.loads(field) if isinstance(field, str) else field


def failed(cell):
    """Warn of an output that could not be shown: MyST-NB sees only what the cell itself raised."""
    for block in cell.findall(nodes.literal_block):
        if "traceback" in block["classes"]:
            log.warning("the page shows an error: %s", block.astext().strip().split("\n")[-1],
                        location=cell)


def complete(app, doctree):
    """Add the question and the check; remove what is not for the reader."""
    for cell in list(doctree.findall(nodes.container)):
        if "tag_golden" in cell["classes"]:
            cell.parent.remove(cell)
        elif "cell" in cell["classes"] and "tag_raises-exception" not in cell["classes"]:
            failed(cell)
    fields = app.env.metadata[app.env.current_document.docname]
    section = next(doctree.findall(nodes.section), None)
    if "question" not in fields or section is None:
        return
    title = nodes.paragraph("", "The question", classes=["question-title"])
    section.insert(1, nodes.container("", title, *parsed(fields["question"]),
                                      classes=["question"]))
    keys, change = (value_of(fields.get(name) or "null") for name in ("golden", "change"))
    if keys and change:
        note = CHECKED.format(keys=listed(keys), changed=listed(change))
        section.append(nodes.container("", *parsed(note), classes=["checked"]))


def setup(app):
    app.connect("doctree-read", complete, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
