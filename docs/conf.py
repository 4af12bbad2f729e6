"""Configuration of the site: `python -m sphinx -W -n -j 2 docs docs/_build/html`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import gdjax.base.machine

# Notebooks run in separate processes, which inherit these variables.
os.environ["TQDM_DISABLE"] = "1"
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a warning about frozen modules
os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(gdjax.base.machine.cores()))

project = "gdjax"
author = "The gdjax authors"
copyright = f"2026, {author}"
version = release = gdjax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "docstrings",
    "gallery",
    "inventories",
    "live",
    "mathml",
    "reference",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
root_doc = "index"

# Notebooks are executed at every build; an error or a warning in one of them is an error.
nb_execution_mode = "force"
nb_execution_in_temp = True  # so that files written by a page are not left in docs/
nb_execution_timeout = 600  # seconds per cell, enough for a busy machine
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "error"
nb_merge_streams = True
nb_ipywidgets_js = {}  # no page has widgets, and their scripts are on another host
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_html_meta = {
    "description": "gdjax: see gradient descent, with thousands of descents in one program"
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Links without a target are errors. Names of other libraries become links if inventories.txt has
# them; the build needs no network.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!gdjax).*")]
autosummary_generate = False  # the extension `reference` writes the pages
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "returns_style")]
python_maximum_signature_line_length = 72
python_use_unqualified_type_names = True
python_trailing_comma_in_multi_line_signatures = False

html_theme = "pydata_sphinx_theme"
html_title = f"gdjax {release}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "header_links_before_dropdown": 6,
    "logo": {"text": html_title},
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_nav_level": 1,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {
    page: []
    for page in (
        "index",
        "quickstart",
        "recipes",
        "see_it_move",
        "use_it_in_class",
        "gallery",
        "sharp_bits",
        "design",
        "changelog",
        "glossary",
    )
}
