"""How Sphinx makes the site of docs/, of the README and of the docstrings.

    python -m pip install ".[docs]"
    python -m sphinx -W -b html docs build/site

The pages are plain Markdown that reads well in the repository; what only the site needs is done here.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pathlib
import re
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx_gallery.sorting import ExplicitOrder

import fastinit

os.environ.setdefault("KERAS_BACKEND", "torch")  # before anything imports Keras, whose own default is TensorFlow

ROOT = pathlib.Path(__file__).resolve().parent.parent

project = "fastinit"
author = "the authors of fastinit"
copyright = "the authors of fastinit, MIT licence"
version = release = fastinit.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_templates"]
templates_path = ["_templates"]
highlight_language = "none"  # a block that names no language is a command, or what one prints

html_theme = "furo"
html_title = f"fastinit {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_copy_source = False
html_show_sourcelink = False

# --- Markdown -------------------------------------------------------------------------------------------------------

myst_heading_anchors = 4

# Files outside of docs/ that are pages of the site, too.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# A link or a picture: its mark, its text, its target; as in .ci/release.py.
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def linked(text: str, folder: pathlib.Path) -> str:
    """The Markdown of a file in that folder, whose links are paths in the repository, as a page in docs/."""

    def target(link: re.Match[str]) -> str:
        mark, words, target = link.groups()
        path, hash_, anchor = target.partition("#")
        if "://" in target or not path:
            return link[0]
        file = (folder / path).resolve().relative_to(ROOT).as_posix()
        if file in PAGES:
            page = PAGES[file]
        elif example := re.fullmatch(r"examples/(\w+)\.py", file):
            page = f"gallery/{example[1]}.rst"
        elif file == "examples":
            page = "gallery/index.rst"
        elif file.startswith("docs/"):
            page = file.removeprefix("docs/")
        else:  # a file to download
            page = f"path:../{file}"
        return f"{mark}[{words}]({page}{hash_}{anchor})"

    parts = re.split("(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)  # every second one is code
    return "".join(part if i % 2 else LINK.sub(target, part) for i, part in enumerate(parts))


def read_page(app: Any, name: str, source: list[str]) -> None:
    """A page of docs/."""
    if app.env.doc2path(name).suffix == ".md":
        source[0] = linked(source[0], ROOT / "docs")


def read_included(app: Any, path: pathlib.Path, name: str, source: list[str]) -> None:
    """A file that a page of docs/ includes."""
    if path.suffix == ".md":
        source[0] = linked(source[0], (ROOT / "docs" / path).resolve().parent)


# --- the reference --------------------------------------------------------------------------------------------------

MODULES = [f"fastinit{name}" for name in ("", ".recipes", ".signal", ".torch", ".jax", ".keras", ".dask")]

autodoc_typehints = "none"  # the docstrings have types in words
autosummary_generate_overwrite = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False


def methods(module: str) -> dict[str, list[str]]:
    """The public methods, of those that are this library's, of each public class of a module, for its page."""
    found = importlib.import_module(module)
    classes = {name: getattr(found, name) for name in found.__all__ if inspect.isclass(getattr(found, name))}
    return {
        f"{module}.{name}": [
            method
            for method, function in inspect.getmembers(kind, inspect.isroutine)
            if not method.startswith("_") and (getattr(function, "__module__", None) or "").startswith("fastinit")
        ]
        for name, kind in classes.items()
    }


autosummary_context = {"methods_of": {name: found for module in MODULES for name, found in methods(module).items()}}


# --- the gallery ----------------------------------------------------------------------------------------------------

# In the order of a course. One that is not here is refused.
EXAMPLES = [
    "plot_250_ones",
    "plot_equal_weights",
    "plot_small_and_large",
    "plot_uniform_ranges",
    "plot_xavier_tanh",
    "plot_he_relu",
    "plot_he_figures",
    "plot_alexnet",
    "plot_sigmoid_regions",
    "plot_digits",
    "plot_truncated_and_16_bits",
    "plot_orthogonal",
    "plot_shards_and_threads",
    "plot_keras_default",
    "train_fsdp2",  # not run here: they draw nothing, and start processes
    "train_tensor_parallel",
    "train_torchtitan_like",
    "train_transformers",
    "train_lightning",
]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "within_subsection_order": ExplicitOrder([f"{name}.py" for name in EXAMPLES]),
    "abort_on_example_error": True,
    "default_thumb_file": str(ROOT / "docs" / "_static" / "icon.svg"),  # of those that draw nothing
    "reset_modules": ("matplotlib",),
    "backreferences_dir": "gallery/backreferences",  # which example uses which function
    "doc_module": ("fastinit",),
    "image_srcset": ["2x"],
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,  # a page whose scripts come from other hosts
}

# --- formulas -------------------------------------------------------------------------------------------------------

html_math_renderer = "mathml"  # which browsers draw themselves: no script, no fonts, nothing to fetch


def formula(writer: Any, node: Any) -> None:
    """Write a formula of TeX as MathML."""
    display = "inline" if isinstance(node, nodes.math) else "block"
    writer.body.append(latex2mathml.converter.convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    app.add_html_math_renderer("mathml", (formula, None), (formula, None))
