"""Settings of the documentation site: `make docs` builds it in docs/_build/html, without a network."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "workflow/scripts")]

import generate_methods  # noqa: E402
import veloshard  # noqa: E402

project = "veloshard"
author = "the veloshard authors"
copyright = author  # noqa: A001
version = release = veloshard.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build", "method_notes"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# titles of the options page repeat in its sections of methods
suppress_warnings = ["myst.header"]

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # types are in the numpydoc sections
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_validation_checks = set()

html_theme = "pydata_sphinx_theme"
html_title = f"veloshard {release}"
html_theme_options = {
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "show_toc_level": 2,
    "footer_start": ["sphinx-version"],
    "footer_end": [],
}
html_show_sourcelink = False
html_copy_source = False


def setup(app):
    """Write the pages of the methods before the sources are read."""
    app.connect("builder-inited", lambda _: generate_methods.write_pages(DOCS / "generated/methods"))
