"""Settings of the documentation site: `make docs` builds it in docs/_build/html, without a network."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "workflow/scripts")]

import generate_methods  # noqa: E402
import generate_options  # noqa: E402
import veloshard  # noqa: E402

project = "veloshard"
author = "the veloshard authors"
copyright = author  # noqa: A001
version = release = veloshard.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_copybutton"]
exclude_patterns = ["_build", "method_notes"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = "$ "

autosummary_generate = True
autodoc_typehints = "none"  # types are in the numpydoc sections
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = f"veloshard {release}"
html_theme_options = {
    "header_links_before_dropdown": 9,
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "show_toc_level": 2,
    "footer_start": ["sphinx-version"],
    "footer_end": [],
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
# pages without pages below them
html_sidebars = dict.fromkeys(("tutorial", "options", "outputs", "benchmarks"), [])
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False


def write_pages(app):
    """Write the options page and the pages of the methods."""
    generate_options.write_page()
    generate_methods.write_pages(DOCS / "generated/methods")


def setup(app):
    """Write pages from the schemas before the sources are read."""
    app.connect("builder-inited", write_pages)
