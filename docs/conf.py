"""Settings of the site, read by Sphinx; `build.py` starts it."""

import logging
import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "machinery"))

project = "adjoint"
author = "The adjoint authors"
project_copyright = "The adjoint authors, MIT licence"
extensions = ["myst_nb", "mathml", "questions"]
root_doc = "index"
exclude_patterns = ["machinery", "_static", "**/README.md"]
nitpicky = True
suppress_warnings = []

# `go.py docs b05` makes that page and the plain ones: pages that compute are what takes time.
if only := os.environ.get("ADJOINT_DOCS_ONLY"):
    import pages
    exclude_patterns += [path.relative_to(DOCS).as_posix() for path in pages.computing(DOCS)
                         if path.stem not in (only, "index")]
    suppress_warnings += ["toc.excluded", "toc.not_readable", "myst.xref_missing"]
    # Sphinx gives its warning of an empty glob no type that could be named above.
    logging.getLogger("sphinx.sphinx.directives.other").addFilter(
        lambda record: "glob pattern" not in str(record.msg))

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
myst_title_to_header = False

nb_execution_mode = "inline"  # the only one in which {eval} in a sentence works
nb_execution_timeout = 120
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_execution_show_tb = True
nb_eval_name_regex = r"(?s).+"  # any expression
nb_output_stderr = "warn"  # a warning on a page is an error of the page
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_metadata_to_fm = True
nb_ipywidgets_js = {}  # they would be loaded from elsewhere
nb_mime_priority_overrides = [("html", "image/svg+xml", 5)]
nb_kernel_rgx_aliases = {".*": "python3"}

html_theme = "furo"
html_title = "adjoint"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8",
        "color-brand-visited": "#1f5fa8",
    },
    "dark_css_variables": {
        "color-brand-primary": "#8ab8ee", "color-brand-content": "#8ab8ee",
        "color-brand-visited": "#8ab8ee",
    },
}
pygments_style = "tango"
pygments_dark_style = "github-dark"
