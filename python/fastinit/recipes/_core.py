"""An initialiser as data, and recipes: which parameter, by patterns of its name, gets which.

A parameter is a name and a shape here, and an array is whatever ``fastinit`` fills: no framework is needed.
"""

from __future__ import annotations

import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import fastinit

from .. import initializers, structured
from .._arguments import shown, typed
from ._moments import MOMENTS, Shape

if TYPE_CHECKING:
    from .._types import BitGenerator

__all__ = ["Initializer", "Recipe", "check_prefix", "match", "select", "some"]

# What each fill says itself, and so no recipe may.
_COMMON = ("out", "seed", "stream", "global_shape", "offset", "threads", "bit_generator")
# The ways to say what the fans are: where a recipe has one of them, the layout stays out of it.
_FANS = ("fan_in", "fan_out", "layout", "in_axis", "out_axis", "batch_axis")
# How many dimensions an array without elements needs for a trial of the arguments alone. The others take any number,
# and 32 has room for all axes: it is the most that older NumPy has.
_DIMENSIONS = {"identity": 2, "orthogonal": 2, "sparse": 2, "dirac": 3}


@functools.cache
def _functions() -> dict[str, inspect.Signature]:
    """The functions of fastinit that fill an array of floats, and their signatures."""
    names = sorted({*initializers.__all__, *structured.__all__} - {"random_bits"})
    return {name: inspect.signature(getattr(fastinit, name)) for name in names}


def _frozen(value: object) -> object:
    """The same value, as one that cannot change: axes may be given as a list or an array."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes):
        return tuple(map(_frozen, value))
    return value


class Initializer:
    """A function of fastinit with its arguments, as data.

    It cannot be changed; those of one function and equal arguments are equal
    and have one hash. The arguments are checked when it is made.

    Parameters
    ----------
    function : str
        The name of a function of fastinit that fills arrays: "normal",
        "he_normal", "constant", ...
    arguments : mapping, optional
        Arguments of that function, by name, but for those that each fill says
        itself: out, seed, stream, global_shape, offset, threads,
        bit_generator. Without fans or axes, functions that need fans read them
        from the shape.
    **more
        The same, as keyword arguments.

    Attributes
    ----------
    function : str
        The name of the function.
    arguments : mapping
        Its arguments. It cannot be changed.

    Raises
    ------
    TypeError, ValueError
        function is none of these; an argument is unknown, missing, given
        twice, or refused by the function.

    Examples
    --------
    >>> from fastinit.recipes import Initializer
    >>> small = Initializer("normal", std=0.02)
    >>> small
    Initializer('normal', std=0.02)
    >>> small.moments((768, 768))
    (0.0, 0.02)
    >>> Initializer("normal", std=-1)
    Traceback (most recent call last):
    ...
    ValueError: Initializer('normal', std=-1): std must be a finite number >= 0, got -1
    """

    __slots__ = ("_arguments", "_function")
    _function: str
    _arguments: Mapping[str, object]

    def __init__(self, function: str, arguments: Mapping[str, object] | None = None, /, **more: object) -> None:
        if not isinstance(function, str):
            raise TypeError(f"function must be the name of a function of fastinit, got {typed(function)}")
        if function not in _functions():
            raise ValueError(f"function must be one of {', '.join(_functions())}; got {shown(function)}")
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, Mapping):
            raise TypeError(f"arguments must be a mapping of arguments by name, got {typed(arguments)}")
        twice = [name for name in arguments if name in more]
        if twice:
            raise TypeError(f"arguments must be given once, got {', '.join(twice)} in the mapping and by keyword")
        given = {name: _frozen(value) for name, value in {**arguments, **more}.items()}
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "_arguments", MappingProxyType(given))
        self._check_names()
        self.check((0,) * _DIMENSIONS.get(function, 32), np.dtype(np.float64))

    def _check_names(self) -> None:
        takes = _functions()[self.function].parameters
        allowed = [name for name in takes if name not in _COMMON]
        unknown = [name for name in self.arguments if name not in allowed]
        if unknown:
            raise ValueError(
                f"{self!r}: arguments of {self.function} in a recipe are {', '.join(allowed) or 'none'}; "
                f"got {', '.join(map(shown, unknown))}"
            )
        missing = [name for name in allowed if takes[name].default is takes[name].empty and name not in self.arguments]
        if missing:
            raise ValueError(f"{self!r}: {self.function} needs {', '.join(missing)}")

    @property
    def function(self) -> str:
        """The name of the function."""
        return self._function

    @property
    def arguments(self) -> Mapping[str, object]:
        """Its arguments, which cannot be changed."""
        return self._arguments

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another one")

    def _key(self) -> tuple[object, ...]:
        """What makes two of them equal."""
        return (self.function, frozenset(self.arguments.items()))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, dict(self.arguments))

    def __repr__(self) -> str:
        arguments = "".join(f", {name}={value!r}" for name, value in self.arguments.items())
        return f"{type(self).__name__}({self.function!r}{arguments})"

    def __str__(self) -> str:
        """As a call, in a few digits: ``normal(std=0.02)``."""
        values = {
            name: f"{value:.6g}" if isinstance(value, float) else repr(value) for name, value in self.arguments.items()
        }
        return f"{self.function}({', '.join(f'{name}={value}' for name, value in values.items())})"

    def _call(self, layout: str) -> dict[str, Any]:
        """The arguments of a call, with a layout where the function needs one."""
        if "layout" in _functions()[self.function].parameters and not any(name in self.arguments for name in _FANS):
            return {**self.arguments, "layout": layout}
        return dict(self.arguments)

    def fill(
        self,
        out: Any,
        *,
        seed: int,
        stream: int | str,
        global_shape: Shape | None = None,
        offset: Shape | None = None,
        layout: str = "torch",
        threads: int | None = None,
        bit_generator: BitGenerator = "ars",
    ) -> Any:
        """Fill ``out``, whole or as a box of a larger tensor, and return it.

        ``layout`` says how fans are read from the shape where the recipe does
        not. For the other arguments and the errors see the function itself,
        such as ``help(fastinit.normal)``.
        """
        function: Callable[..., Any] = getattr(fastinit, self.function)
        return function(
            out,
            **self._call(layout),
            seed=seed,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=bit_generator,
        )

    def check(self, shape: Shape, dtype: Any, layout: str = "torch") -> None:
        """Raise what ``fill`` would raise for a tensor of this shape and dtype.

        A box of it without elements is filled. (A tensor of no dimensions has
        one element and no smaller box: a scratch one is filled.)
        """
        nothing: NDArray[Any] = np.empty((0,) * len(shape), dtype)
        try:
            self.fill(nothing, seed=0, stream=0, global_shape=tuple(shape), offset=(0,) * len(shape), layout=layout)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self!r}: {error}") from None

    def moments(self, shape: Shape, layout: str = "torch") -> tuple[float, float]:
        """Expected mean and standard deviation for a tensor of this shape.

        From the definitions, before rounding to a dtype. The shape is that of
        the whole tensor.
        """
        bound = _functions()[self.function].bind(None, **self._call(layout))
        bound.apply_defaults()
        formula = MOMENTS[getattr(fastinit, self.function).__name__]  # of he_normal for its alias kaiming_normal
        return formula(bound.arguments, tuple(shape))


# --- recipes --------------------------------------------------------------------------------------------------------

Recipe: TypeAlias = Mapping[str, Initializer] | Sequence[tuple[str, Initializer]]
"""Patterns and initialisers, in order. A pattern is compared with the whole name of a parameter, as by
``fnmatch.fnmatchcase``: ``*`` is any text, with dots too, ``?`` one character, ``[abc]`` one of them. The first pattern
that matches wins."""


def _pairs(recipe: object) -> list[tuple[str, Initializer]]:
    wanted = "recipe must be pairs of (pattern, Initializer), or a mapping from patterns to them"
    if isinstance(recipe, str) or not isinstance(recipe, Mapping | Sequence):
        raise TypeError(f"{wanted}, got {typed(recipe)}")
    pairs = list(recipe.items() if isinstance(recipe, Mapping) else recipe)
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(f"{wanted}, got {typed(pair)} in it")
        if not (isinstance(pair[0], str) and isinstance(pair[1], Initializer)):
            raise TypeError(f"{wanted}, got {typed(pair[0])} with {typed(pair[1])} in it")
    return [(pattern, initializer) for pattern, initializer in pairs]


def some(names: Iterable[str]) -> str:
    """A list for an error message: of many, the first ones."""
    names = list(names)
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def check_prefix(prefix: object) -> str:
    """What comes before the names of a part of a model: "" or such as "head."."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str, got {typed(prefix)}")
    if prefix and not prefix.endswith("."):
        raise ValueError(f"prefix must be empty or end with a dot, as in 'head.', got {shown(prefix)}")
    return prefix


def _rule(pattern: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(pattern)).match


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
        rule = _rule(pattern)
        hits = [name for name in names if rule(name)]
        if not hits:
            raise ValueError(f"{argument}: no name matches the pattern {pattern!r}; there are {some(names) or 'none'}")
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
    recipe: Recipe,
    names: Iterable[str],
    *,
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
) -> dict[str, tuple[str, Initializer]]:
    """Which pattern and initialiser each parameter gets: the first that matches.

    Parameters
    ----------
    recipe : Recipe
        Pairs of (pattern, Initializer), or a mapping.
    names : iterable of str
        Qualified names of all parameters.
    include, exclude : str or sequence of str, optional
        Patterns of names. Only parameters that match ``include``, if it is
        given, and do not match ``exclude`` get anything.

    Returns
    -------
    dict
        From each name that gets something, in order, to (pattern,
        Initializer).

    Raises
    ------
    TypeError
        recipe, include or exclude is none of these.
    ValueError
        No pattern matches a parameter that is to get something; or a pattern
        of the recipe wins no parameter at all, since it matches none or
        earlier ones win all of those; or a pattern of include or exclude
        matches none. The message names them.

    Examples
    --------
    >>> from fastinit.recipes import Initializer, match
    >>> match([("*.weigth", Initializer("zeros"))], ["fc.weight"])
    Traceback (most recent call last):
    ...
    ValueError: recipe: no pattern matches the parameters 'fc.weight'; no parameter matches the patterns '*.weigth'
    """
    pairs = _pairs(recipe)
    names = list(names)
    chosen = set(select(names, include, exclude))
    rules = [_rule(pattern) for pattern, _ in pairs]
    found: dict[str, tuple[str, Initializer]] = {}
    won: set[int] = set()
    matched: set[int] = set()
    without: list[str] = []
    for name in names:
        hits = [i for i, rule in enumerate(rules) if rule(name)]
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
    nothing = [pattern for i, (pattern, _) in enumerate(pairs) if i not in matched]
    if nothing:
        problems.append(f"no parameter matches the patterns {some(nothing)}")
    hidden = [pattern for i, (pattern, _) in enumerate(pairs) if i in matched - won]
    if hidden:
        problems.append(f"earlier patterns win all the parameters of {some(hidden)}: put those first")
    if problems:
        raise ValueError(f"recipe: {'; '.join(problems)}")
    return found
