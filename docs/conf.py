"""How Sphinx builds the site: offline, from the Markdown here and from pages that `generate` makes of code and data."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate  # noqa: E402 - beside this file, which is not installed

project = "roofcast"
author = "the roofcast authors"
copyright = "2026, the roofcast authors; Apache-2.0"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "roofcast"
html_copy_source = False
html_show_sphinx = False
# Anchors as GitHub makes them, so that one link works on both.
myst_heading_anchors = 3
exclude_patterns = ["build"]


OUTSIDE = {
    "CONTRIBUTING.md": "generated/contributing.md",
    "results/README.md": "generated/results.md",
    "results/claims.md": "generated/claims.md",
    "results/predict.md": "generated/predict.md",
}
"""A file of the repository that pages link to -> its copy in the site. GitHub follows the link as it stands."""


def setup(app) -> None:
    """Writes the generated pages before Sphinx looks for pages, and turns links out of `docs/` to their copies."""
    generate.write(HERE)
    app.connect("source-read", _inside)


def _inside(app, name: str, source: list[str]) -> None:
    up = "../" * (name.count("/") + 1)
    for path, page in OUTSIDE.items():
        source[0] = source[0].replace(f"]({up}{path})", f"](/{page})")
