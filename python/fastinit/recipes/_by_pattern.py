"""``by_pattern``: a recipe of names as one of patterns, in which the numbers of layers are free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._patterns import ValueT, pairs_of, rule

__all__ = ["by_pattern"]


def by_pattern(recipe: Mapping[str, ValueT] | Sequence[tuple[str, ValueT]]) -> dict[str, ValueT]:
    """The same recipe in fewer words: numbers in names become ``*``.

    A pattern takes the place of two names or more which differ in numbers
    alone, if all of them have one value, and it matches no other name. Else
    the names stay, or their last numbers do. So each name has its value as
    before, and a model with more layers may have it, too.

    Parameters
    ----------
    recipe : Recipe
        By names, as ``Plan.recipe`` gives it.

    Returns
    -------
    dict
        Patterns and values, in the order of the first name of each.

    Raises
    ------
    TypeError
        recipe is none.

    Notes
    -----
    Values that depend on the number of layers, as GPT-2's residual
    projections do, are those of this model's depth.

    Examples
    --------
    >>> from fastinit.recipes import Initializer, by_pattern
    >>> zeros = Initializer("zeros")
    >>> recipe = {f"h.{i}.fc.bias": zeros for i in range(12)} | {"bias": zeros}
    >>> by_pattern(recipe)
    {'h.*.fc.bias': Initializer('zeros'), 'bias': Initializer('zeros')}
    """
    values = dict(pairs_of(recipe))
    names = list(values)
    pattern_of = dict(zip(names, names, strict=True))
    numbers = {name: sum(map(str.isdecimal, name.split("."))) for name in names}
    for n in range(max(numbers.values(), default=0), 0, -1):
        groups: dict[str, list[str]] = {}
        for name in names:
            if pattern_of[name] == name and numbers[name] >= n and not set("*?[") & set(name):
                groups.setdefault(_starred(name, n), []).append(name)
        for pattern, members in groups.items():
            alike = len(members) > 1 and all(values[name] == values[members[0]] for name in members)
            if alike and pattern not in values and list(filter(rule(pattern, names), names)) == members:
                pattern_of.update(dict.fromkeys(members, pattern))
    return {pattern_of[name]: values[name] for name in names}


def _starred(name: str, n: int) -> str:
    """With ``*`` for the first n of its numbers."""
    parts = name.split(".")
    places = [i for i, part in enumerate(parts) if part.isdecimal()]
    for i in places[:n]:
        parts[i] = "*"
    return ".".join(parts)


by_pattern.__module__ = "fastinit.recipes"  # for help, and for pickles that outlive the name of this file
