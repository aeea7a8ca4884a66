"""Writes docs/models.md: what ``fastinit.torch.deferred`` records of each model of tests/pytorch/zoo.py.

    python tests/generate_models.py

tests/pytorch/test_zoo.py compares what it writes with what is committed.
"""

from __future__ import annotations

import collections
import importlib.metadata
import pathlib
import sys
import unittest.mock
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

TESTS = pathlib.Path(__file__).parent
PAGE = TESTS.parent / "docs" / "models.md"
LIBRARIES = ("transformers", "timm", "torchvision")

HEAD = """\
# Models of others

What [`deferred`](deferred.md) records of models of other libraries, each in a tiny configuration
([tests/pytorch/zoo.py](../tests/pytorch/zoo.py)):
{versions}.
A script writes this page ([tests/generate_models.py](../tests/generate_models.py)), and a test
compares the two.

Of each, a test compares what `deferred` makes, and `accelerate`, with what the library makes alone,
over many seeds ([tests/pytorch/laws.py](../tests/pytorch/laws.py)):

- Constants and buffers are equal, bit for bit, and the same names are tied.
- Of random tensors, mean, standard deviation, skewness, kurtosis, the distribution function at five
  points and the extremes agree. The bounds follow from the number of values.
- No two tensors go together that do not in the library's own model.

Another one compares boxes of each parameter with all steps on whole tensors, bit for bit.

In the tables, **laws** is how many parameters `plan.recipe()` gives to which initialiser.
*computed* is what is more than a draw or a constant: a row of padding, packed parts, arithmetic;
*given* has values from Python, which it keeps. **whole** is how many of the computed ones are made
whole and cut; of all others a process makes only what it holds. **tied** is how many names are
further names of a parameter.
"""
TABLE = "| model | kind | parameters | buffers | laws | whole | tied |\n|---|---|---|---|---|---|---|\n"


def row(name: str) -> str:
    """The line of one model."""
    from zoo import KINDS, build

    from fastinit.recipes import Initializer, skip
    from fastinit.torch import deferred

    with deferred(0) as plan:
        model = build(name)
    recipe = plan.recipe(model)
    laws: collections.Counter[str] = collections.Counter()
    whole = 0
    for key, law in recipe.items():
        if isinstance(law, Initializer):
            laws[law.function] += 1
        else:
            laws["given" if law is skip else "computed"] += 1
            whole += law is not skip and is_made_whole(law, tuple(model.get_parameter(key).shape))
    kind = type(model).__name__
    cells = [
        f"`{name}`" if name == kind else f"{name.removeprefix('torchvision ')}: `{kind}`",
        KINDS[name],
        str(len(recipe)),
        str(len(list(model.buffers()))),
        ", ".join(f"{n} {law}" for law, n in sorted(laws.items())),
        str(whole),
        str(len(list(model.named_parameters(remove_duplicate=False))) - len(recipe)),
    ]
    return f"| {' | '.join(cells)} |\n"


def is_made_whole(law: Any, shape: Sequence[int]) -> bool:
    """Whether a fill computes a whole tensor somewhere."""
    from fastinit.torch._replay import Replay

    with unittest.mock.patch.object(Replay, "whole", autospec=True, side_effect=Replay.whole) as whole:
        law.fill(np.empty(shape, np.float32), seed=0, stream="any")
    return whole.called


def versions() -> str:
    """The libraries, with those that are installed."""
    found = [f"{name} {importlib.metadata.version(name).partition('+')[0]}" for name in LIBRARIES]
    return f"{', '.join(found[:-1])} and {found[-1]}"


def page() -> str:
    """The text of docs/models.md."""
    import zoo

    parts = [HEAD.format(versions=versions())]
    for library in LIBRARIES:
        names = getattr(zoo, library.upper())
        parts.append(f"\n## {library}: {len(names)} models\n\n{TABLE}{''.join(map(row, names))}")
    return "".join(parts)


if __name__ == "__main__":
    sys.path[:0] = [str(TESTS), str(TESTS / "pytorch")]
    warnings.simplefilter("ignore")  # theirs
    PAGE.write_text(page(), "utf-8")
