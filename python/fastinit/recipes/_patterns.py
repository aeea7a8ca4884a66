"""Recipes: which parameter, by patterns of its name, gets which value. A parameter is a name and a shape here."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import fastinit

from .._arguments import shown, some, typed
from ._initializer import Initializer, functions
from ._moments import Shape
from ._values import Computed, Skip

__all__ = [
    "Filling",
    "Optional",
    "Recipe",
    "check_prefix",
    "match",
    "match_chosen",
    "optional",
    "pairs_of",
    "resolved",
    "rule",
    "select",
]

# What fills a parameter.
Filling: TypeAlias = "Initializer | Computed"
# What says it, once the parameter's shape is known.
Choose: TypeAlias = "Callable[[str, tuple[int, ...], Mapping[str, tuple[int, ...]]], Filling | Skip]"
Value: TypeAlias = "Filling | Skip | Choose"
Recipe: TypeAlias = "Mapping[str, Value] | Sequence[tuple[str, Value]]"
"""Patterns and values, in order. A pattern is compared with the whole name of a parameter, as by
``fnmatch.fnmatchcase``: ``*`` is any text, with dots too, ``?`` one character, ``[abc]`` one of them. One that is the
name of a parameter, character for character, is for that parameter alone. The first pattern that matches wins. One that
matches nothing is refused, unless it is ``optional(pattern)``.

A value is an ``Initializer``; ``skip``, for parameters that are left as they are; ``computed(function)``; or a function
``choose(name, shape, siblings)`` that returns one of these. ``siblings`` has the shapes of the parameters of the same
module, this one among them, by the last part of their names."""

ValueT = TypeVar("ValueT", bound=Value)  # of a recipe of initialisers alone, that is what each name gets

_WANTED = "recipe must be pairs of (pattern, value), or a mapping from patterns to values"
_VALUE = (
    f"{_WANTED}, where a value is an Initializer, skip, computed(function) or a function of (name, shape, siblings)"
)


def _check_value(pattern: str, value: object) -> None:
    if isinstance(value, Initializer | Computed | Skip):
        return
    got = f"{_VALUE}; got {typed(value)} for {pattern!r}"
    if not callable(value):
        raise TypeError(got)
    inner: Any = value
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__name__", "")
    if name in functions() and inner is getattr(fastinit, name):
        raise TypeError(f"{got}: Initializer({name!r}) stands for a function of fastinit")
    try:
        inspect.signature(value).bind("", (), {})
    except TypeError as error:
        raise TypeError(f"{got}: {error}") from None
    except ValueError:  # one that is compiled may not say what it takes
        pass


def pairs_of(recipe: Mapping[str, ValueT] | Sequence[tuple[str, ValueT]]) -> list[tuple[str, ValueT]]:
    """Patterns and values, checked."""
    if isinstance(recipe, str) or not isinstance(recipe, Mapping | Sequence):
        raise TypeError(f"{_WANTED}, got {typed(recipe)}")
    pairs: list[Any] = list(recipe.items() if isinstance(recipe, Mapping) else recipe)
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(f"{_WANTED}, got {typed(pair)} in it")
        if not isinstance(pair[0], str):
            raise TypeError(f"{_WANTED}, got {typed(pair[0])} with {typed(pair[1])} in it")
        _check_value(*pair)
    return [(pattern, value) for pattern, value in pairs]


class Optional(str):
    """What ``optional(pattern)`` returns."""

    __slots__ = ()
    __module__ = "fastinit.recipes"

    def __reduce__(self) -> tuple[Any, ...]:
        return optional, (str(self),)

    def __repr__(self) -> str:
        return f"optional({super().__repr__()})"


def optional(pattern: str) -> str:
    """A pattern of a recipe that may match no parameter.

    Other patterns are refused if they are for nothing, since they may be
    misspelt. One whose parameters all go to earlier patterns is refused all
    the same.

    Parameters
    ----------
    pattern : str
        As in a recipe.

    Returns
    -------
    str
        Equal to the pattern.

    Raises
    ------
    TypeError
        pattern is not a str.

    Examples
    --------
    >>> from fastinit.recipes import Initializer, match, optional
    >>> recipe = {optional("*.bias"): Initializer("zeros"), "*": Initializer("normal", std=0.02)}
    >>> match(recipe, ["fc.weight"])
    {'fc.weight': ('*', Initializer('normal', std=0.02))}
    """
    if not isinstance(pattern, str):
        raise TypeError(f"pattern must be a str, got {typed(pattern)}")
    return Optional(pattern)


optional.__module__ = "fastinit.recipes"  # for help, and for pickles that outlive the name of this file


def check_prefix(prefix: object) -> str:
    """What comes before the names of a part of a model: "" or such as "head."."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str, got {typed(prefix)}")
    if prefix and not prefix.endswith("."):
        raise ValueError(f"prefix must be empty or end with a dot, as in 'head.', got {shown(prefix)}")
    return prefix


def rule(pattern: str, names: Collection[str]) -> Callable[[str], object]:
    """Which names a pattern is for. One that is a name itself is for that alone, also where it has brackets."""
    return pattern.__eq__ if pattern in names else re.compile(fnmatch.translate(pattern)).match


def _chosen(names: Sequence[str], argument: str, patterns: object) -> set[str]:
    """The names that include= or exclude= is about. A pattern for nothing is a mistake."""
    wanted = f"{argument} must be a pattern of names or a sequence of them"
    some_patterns = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(some_patterns, Sequence) or isinstance(some_patterns, bytes):
        raise TypeError(f"{wanted}, got {typed(patterns)}")
    chosen: set[str] = set()
    for pattern in some_patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"{wanted}, got {typed(pattern)} in it")
        hits = list(filter(rule(pattern, names), names))
        if not hits:
            raise ValueError(
                f"{argument}: no name matches the pattern {pattern!r}; the names are {some(names) or 'none'}"
            )
        chosen.update(hits)
    return chosen


def select(
    names: Iterable[str], include: str | Sequence[str] | None = None, exclude: str | Sequence[str] | None = None
) -> list[str]:
    """The names that match ``include`` (None: all) and do not match ``exclude``, in order."""
    names = list(names)
    included = set(names) if include is None else _chosen(names, "include", include)
    excluded = set() if exclude is None else _chosen(names, "exclude", exclude)
    return [name for name in names if name in included and name not in excluded]


def match(
    recipe: Mapping[str, ValueT] | Sequence[tuple[str, ValueT]],
    names: Iterable[str],
    *,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
) -> dict[str, tuple[str, ValueT]]:
    """Which pattern and value each parameter gets: the first that matches.

    Parameters
    ----------
    recipe : Recipe
        Pairs of (pattern, value), or a mapping. A value is an ``Initializer``,
        ``skip``, ``computed(function)``, or a function of (name, shape,
        siblings) that chooses one.
    names : iterable of str
        Qualified names of all parameters.
    include, exclude : str or sequence of str, optional
        Patterns of names. Only parameters that match ``include`` (by default
        all) and do not match ``exclude`` get anything.

    Returns
    -------
    dict
        From each name that gets something, in order, to (pattern, value).
        Functions that choose are not called, since names have no shapes.

    Raises
    ------
    TypeError
        recipe, names, include or exclude is not what is described above.
    ValueError
        No pattern matches a parameter that is to get something; or a pattern
        of the recipe is never the first to match, selected or not (but what is
        ``optional`` may match nothing); or a pattern of include or exclude
        matches nothing. The message names them.

    Examples
    --------
    >>> from fastinit.recipes import Initializer, match
    >>> match([("*.weigth", Initializer("zeros"))], ["fc.weight"])
    Traceback (most recent call last):
    ...
    ValueError: recipe: no pattern matches the parameters 'fc.weight'; no parameter matches the patterns '*.weigth'
    """
    wanted = "names must be an iterable of str"
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{wanted}, got {typed(names)}")
    names = list(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{wanted}, got {typed(name)} in it")
    return match_chosen(recipe, names, set(select(names, include, exclude)))


def match_chosen(
    recipe: Mapping[str, ValueT] | Sequence[tuple[str, ValueT]], names: Iterable[str], chosen: Collection[str]
) -> dict[str, tuple[str, ValueT]]:
    """What ``match`` says, for a caller that has selected the names itself. ``names`` are those of all parameters."""
    pairs = pairs_of(recipe)
    names = set(ordered := list(names))
    rules = [rule(pattern, names) for pattern, _ in pairs]
    found: dict[str, tuple[str, ValueT]] = {}
    won: set[int] = set()
    matched: set[int] = set()
    without: list[str] = []
    for name in ordered:
        hits = [i for i, matches in enumerate(rules) if matches(name)]
        matched.update(hits)
        won.update(hits[:1])
        if name not in chosen:
            continue
        if hits:
            found[name] = pairs[hits[0]]
        else:
            without.append(name)
    problems = []
    if without:
        problems.append(f"no pattern matches the parameters {some(without)}")
    nothing = [
        pattern for i, (pattern, _) in enumerate(pairs) if i not in matched and not isinstance(pattern, Optional)
    ]
    if nothing:
        problems.append(f"no parameter matches the patterns {some(nothing)}")
    hidden = [pattern for i, (pattern, _) in enumerate(pairs) if i in matched - won]
    if hidden:
        problems.append(f"earlier patterns win all the parameters of {some(hidden)}: put {some(hidden)} before them")
    if problems:
        raise ValueError(f"recipe: {'; '.join(problems)}")
    return found


def _module_of(name: str) -> tuple[str, str]:
    module, _, last = name.rpartition(".")
    return module, last


def resolved(
    found: Mapping[str, tuple[str, Value]], shapes: Mapping[str, Shape]
) -> dict[str, tuple[str, Filling | Skip]]:
    """What ``match`` says, where the functions that choose have chosen. ``shapes`` has all parameters, by all names."""
    modules: dict[str, dict[str, tuple[int, ...]]] = {}
    values: dict[str, tuple[str, Filling | Skip]] = {}
    for name, (pattern, value) in found.items():
        if not isinstance(value, Initializer | Computed | Skip):
            if not modules:  # most recipes need none of it
                for every, shape in shapes.items():
                    module, last = _module_of(every)
                    modules.setdefault(module, {})[last] = tuple(shape)
            module, last = _module_of(name)
            siblings = MappingProxyType(modules[module])
            whose = f"recipe: the function for the pattern {str(pattern)!r}"
            try:
                chosen = value(name, siblings[last], siblings)
            except Exception as error:
                raise ValueError(
                    f"{whose} raised {type(error).__name__}: {error}; for the parameter {name!r} of shape "
                    f"{siblings[last]}, with the siblings {dict(siblings)}"
                ) from error
            if not isinstance(chosen, Initializer | Computed | Skip):
                raise TypeError(
                    f"{whose} must return an Initializer, skip or computed(function), got {typed(chosen)} for the "
                    f"parameter {name!r}"
                )
            value = chosen
        values[name] = pattern, value
    return values
