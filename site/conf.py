"""Settings of the web edition. `build.py` gathers the pages and starts Sphinx with them.

Nothing is executed and nothing is fetched: outputs are the stored ones, MathJax lies beside the
pages, and a page works when it is opened as a file.
"""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

project = "Regularization, measured"
author = "The coursekit contributors"
project_copyright = f"{author}. Code: MIT. Text and figures: CC BY 4.0"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["figures"]
smartquotes = False  # sentences stand as they were written
# A sheet of exercises has its points and its questions on one level.
# Names of attributes such as `mean` stand in more than one class.
suppress_warnings = ["myst.header", "ref.python"]

# Reference: docstrings put names between single backticks
default_role = "code"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "none"
autodoc_preserve_defaults = True
add_module_names = False

# Notebooks
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_render_markdown_format = "myst"
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 4

# Formulas
MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax"
mathjax_path = "mathjax/startup.js"
PARTS = ("core.js", "input/tex.js", "output/chtml.js", "output/chtml/fonts/tex.js")  # no menu
mathjax3_config = {
    "loader": {"load": ["core", "input/tex", "output/chtml"]},
    "chtml": {"matchFontHeight": False, "mtextInheritFont": True},
}

# Look
html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["roles.css", "course.css"]
html_js_files = [("course.js", {"defer": "defer"})]
html_extra_path = ["extra"]
html_favicon = "_static/mark.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_search_summary = False  # it is fetched, which a page that was opened as a file may not
html_permalinks_icon = "#"
html_context = {"default_mode": "auto"}
# Lessons have the whole width, so that an explorer and what it changes fit on one screen.
WITHOUT = ("index", "search", "rosetta", "ledger/*", "ledger/index", "notebooks/[0-9]*")
html_sidebars = {page: [] for page in WITHOUT}
html_theme_options = {
    "logo": {"text": project, "image_light": "_static/mark.svg", "image_dark": "_static/mark.svg"},
    "navbar_align": "left",
    "search_bar_text": "Search the course",
    "navbar_persistent": ["search-button"],
    "article_header_start": ["breadcrumbs"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": {"notebooks/**": ["page-toc"], "docs/*": ["page-toc"]},
    "show_toc_level": 1,
    "show_nav_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "back_to_top_button": False,
}


def formulas(app, exception):
    """Lay MathJax beside the pages: of its 30 MB, what they use."""
    if exception is None:
        target = Path(app.outdir) / "_static/mathjax"
        fonts = "output/chtml/fonts/woff-v2"
        shutil.copytree(MATHJAX / fonts, target / fonts, dirs_exist_ok=True)
        for part in ("startup.js", *PARTS):
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(MATHJAX / part, target / part)


def slim(app, exception):
    """Take rules out of the theme's style whose classes stand on no page: two thirds of it."""
    path = Path(app.outdir) / "_static/styles/pydata-sphinx-theme.css"
    if exception is not None:
        return
    (Path(app.outdir) / "_static/webpack-macros.html").unlink(missing_ok=True)  # no page
    used = set()
    for page in Path(app.outdir).rglob("*.html"):
        for names in re.findall(r'class="([^"]*)"', page.read_text(encoding="utf-8")):
            used.update(names.split())
    for script in (Path(app.outdir) / "_static").glob("**/*.js"):
        used.update(re.findall(r"[A-Za-z_][\w-]*", script.read_text(encoding="utf-8")))

    def seen(selector):
        present = re.sub(r":not\((?:[^()]|\([^()]*\))*\)", "", selector)
        return set(re.findall(r"\.(-?[A-Za-z_][\w-]*)", present)) <= used

    text = re.sub(
        r"([^{}]+)\{[^{}]*\}",
        lambda rule: rule[0] if any(map(seen, rule[1].split(","))) else "",
        path.read_text(encoding="utf-8"),
    )
    path.write_text(text, encoding="utf-8")


OPENING = ("index", "lessons", "exercises", "ledger/index", "rosetta", "guides", "api/index")


def no_neighbors(app, pagename, templatename, context, doctree):
    """On a page that opens a part, "previous" would be the last page of another one."""
    if pagename in OPENING:
        context["prev"] = context["next"] = None


def as_written(app, what, name, obj, options, lines):
    """In prose a bar and a star are themselves; what follows in examples is untouched."""
    for i, line in enumerate(lines):
        if line.strip() == "Examples":
            return
        lines[i] = re.sub(r"(?<![\\|])\|(?!\|)|(?<!\\)\*\*?(?=\w)", r"\\\g<0>", line)


def setup(app):
    app.connect("autodoc-process-docstring", as_written, priority=400)  # before napoleon
    app.connect("html-page-context", no_neighbors)
    app.connect("build-finished", formulas)
    app.connect("build-finished", slim)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
