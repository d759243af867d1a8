"""How Sphinx builds the site: offline, from the Markdown here and from pages that `generate` makes of code and data."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import generate

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


def setup(app) -> None:
    """Writes the generated pages before Sphinx looks for pages."""
    generate.write(HERE)
