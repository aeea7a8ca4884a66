"""Generator, the initialisers with a seed of their own, and what holds for the whole process: default seed, threads."""

from __future__ import annotations

import os
from _thread import allocate_lock  # threading would take a fifth of the import
from typing import TYPE_CHECKING, Any, final

import numpy as np

from . import _core
from ._arguments import BIT_GENERATORS, choice, documented, integer, shown, typed
from ._methods import Methods

if TYPE_CHECKING:
    from typing import Literal, overload

    from numpy.random import SeedSequence

    from ._types import BitGenerator, Integer

__all__ = ["Generator", "default_generator", "get_num_threads", "manual_seed", "set_num_threads", "show_config"]

_spawning = allocate_lock()


@final
class Generator(Methods):
    """The initialisers with a seed of their own: each call takes the next stream.

    A generator has a method for each initialiser, with the same arguments but
    ``seed`` and ``bit_generator``, which it has itself. The n-th call (n = 0,
    1, ...) has stream n; a call with ``stream=`` has that one and does not
    count, nor does one that draws nothing or is refused.

    Parameters
    ----------
    seed : int, numpy.random.SeedSequence or None, default None
        An int, 0 .. 2**64-1, is the ``seed`` of the functions. Of a
        SeedSequence it is ``generate_state(1, numpy.uint64)[0]``; None takes
        64 bits from the operating system.
    bit_generator : {"ars", "philox"}, default "ars"
        ARS-7 or Philox4x32-10.

    Attributes
    ----------
    seed : int
        The seed that gives the functions of fastinit the same values.
    bit_generator : str
        The bit generator that does.
    next_stream : int
        The stream that the next call takes.

    Raises
    ------
    TypeError, ValueError
        seed or bit_generator is not what is described above.

    See Also
    --------
    fastinit.default_generator : What calls without a seed use.

    Notes
    -----
    Bits: ``Generator(s).normal(w, stream="x")`` is ``fastinit.normal(w,
    seed=s, stream="x")``, bit for bit.

    A generator can be pickled and copied, and the copy goes on from the same
    stream. Threads may share one: no two calls get the same stream. Forked
    processes have a copy each, so they draw the same: ``spawn`` a generator
    for each.

    References
    ----------
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
    2011.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> g = fastinit.Generator(0)
    >>> w1 = g.he_normal(np.empty((512, 256), np.float32), 256)
    >>> w2 = g.he_normal(np.empty((512, 512), np.float32), 512)
    >>> g
    Generator(seed=0, bit_generator='ars') at stream 2

    By name, a weight does not depend on the order of the calls:

    >>> b = g.normal(np.empty(512), std=0.02, stream="layer1.bias")
    """

    __slots__ = ("_bit_generator", "_seed_sequence", "_streams")
    __module__ = "fastinit"
    if TYPE_CHECKING:
        _streams: _core.Streams

    def __init__(self, seed: Integer | SeedSequence | None = None, *, bit_generator: BitGenerator = "ars") -> None:
        choice("bit_generator", bit_generator, BIT_GENERATORS)
        self._bit_generator = bit_generator
        number: Any = seed
        self._seed_sequence: Any = None
        if seed is not None and not isinstance(seed, int | np.integer):
            from numpy.random.bit_generator import ISpawnableSeedSequence  # here: numpy.random takes long to import

            if isinstance(seed, ISpawnableSeedSequence):
                self._seed_sequence = seed
                number = int(seed.generate_state(1, np.uint64)[0])
        self._streams = _core.Streams() if number is None else _core.Streams(number)
        self._streams.state()  # seeded now, not after a fork

    @property
    def seed(self) -> int:
        """The seed that gives the functions of fastinit the same values."""
        return self._streams.state()[0]

    @property
    def bit_generator(self) -> BitGenerator:
        """The name of the bit generator."""
        return self._bit_generator

    @property
    def next_stream(self) -> int:
        """The stream that the next call takes."""
        return self._streams.state()[1]

    def spawn(self, n_children: Integer) -> list[Generator]:
        """New generators with seeds of their own, for processes or parts.

        Parameters
        ----------
        n_children : int
            How many, 0 .. 2**32.

        Returns
        -------
        list of Generator
            Of the same bit generator. Two calls never return the same
            children. The seeds come from ``numpy.random.SeedSequence``: its
            ``spawn``, if this generator was made from one, else the children
            of ``SeedSequence(seed)``.

        Raises
        ------
        TypeError, ValueError
            n_children is not an int, or out of that range.

        Notes
        -----
        Bits: the k-th child of a generator (over all calls) depends on its
        seed and k alone; of a generator that was made from a SeedSequence, on
        the SeedSequence and k, which counts all of its children. A seed has
        64 bits, so of 2**32 generators two may well have the same one.

        Examples
        --------
        >>> import fastinit
        >>> children = fastinit.Generator(0).spawn(2)
        >>> children[0].seed == fastinit.Generator(0).spawn(1)[0].seed
        True
        """
        wanted = "n_children must be an int, 0 .. 2**32"
        try:
            n = integer(n_children)
        except TypeError:
            raise TypeError(f"{wanted}, got {typed(n_children)}") from None
        if not 0 <= n <= 2**32:
            raise ValueError(f"{wanted}, got {shown(n_children)}")
        if self._seed_sequence is not None:
            with _spawning:  # NumPy's count of children is not atomic
                sequences = self._seed_sequence.spawn(n)
        else:
            from numpy.random import SeedSequence  # here, as above

            seed, first = self._streams.spawn(n)
            sequences = [SeedSequence(seed, spawn_key=(first + k,)) for k in range(n)]
        return [Generator(sequence, bit_generator=self._bit_generator) for sequence in sequences]

    def __repr__(self) -> str:
        seed, stream, _ = self._streams.state()
        return f"Generator(seed={seed}, bit_generator={self._bit_generator!r}) at stream {stream}"

    def __getstate__(self) -> tuple[Any, ...]:
        return self._streams.state(), self._bit_generator, self._seed_sequence

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        streams, self._bit_generator, self._seed_sequence = state
        self._streams = _core.Streams(*streams)


def _default() -> Generator:
    generator = Generator.__new__(Generator)
    generator._bit_generator, generator._seed_sequence = "ars", None
    generator._streams = _core.default_streams
    return generator


default_generator = _default()


# --- the whole process ----------------------------------------------------------------------------------------------


@documented
def manual_seed(seed: Integer) -> None:
    """Seed the default generator, so that what follows is repeatable.

    Calls without ``seed`` take the streams of the default generator in turn:
    the n-th after this (n = 0, 1, ...) equals the call with this seed and
    ``stream=n``.

    Parameters
    ----------
    seed : int
        0 .. 2**64-1.

    Raises
    ------
    TypeError, ValueError
        seed is not an int, or out of that range; then the generator is as it
        was.

    Notes
    -----
    Bits: calls that are refused, that draw nothing (``constant``) or that have
    a seed or a stream of their own do not count. A process that is forked
    afterwards repeats the streams that its parent would have taken.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> fastinit.manual_seed(7)
    >>> first, second = fastinit.normal(np.empty(5)), fastinit.normal(np.empty(5))
    >>> np.array_equal(second, fastinit.normal(np.empty(5), seed=7, stream=1))
    True
    """
    _core.default_streams.reset(seed)  # type: ignore[arg-type]


@documented
def set_num_threads(threads: Integer) -> None:
    """Set how many threads a call may use, for the whole process.

    Parameters
    ----------
    threads : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        threads is not an int, or < 1; then the setting is as it was.

    Notes
    -----
    Bits: no value depends on it.

    Examples
    --------
    >>> import fastinit
    >>> before = fastinit.get_num_threads()
    >>> fastinit.set_num_threads(1)
    >>> fastinit.get_num_threads()
    1
    >>> fastinit.set_num_threads(before)
    """
    _core.set_num_threads(threads)  # type: ignore[arg-type]


@documented
def get_num_threads() -> int:
    """How many threads a call may use.

    Returns
    -------
    int
        What ``set_num_threads`` set, else the environment variable
        FASTINIT_NUM_THREADS, else the number of CPUs that this process may use
        (affinity mask, cgroup quota). Small fills use fewer.

    Raises
    ------
    ValueError
        FASTINIT_NUM_THREADS is not an integer >= 1, and ``set_num_threads``
        was not called.

    Notes
    -----
    Bits: no value depends on it.

    Examples
    --------
    >>> import fastinit
    >>> fastinit.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


if TYPE_CHECKING:

    @overload
    def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
    @overload
    def show_config(mode: Literal["dicts"]) -> dict[str, Any]: ...


@documented
def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show how fastinit was built and what it found on this machine.

    version, stream_format, compiler, targets_built, targets_found (those that
    this CPU and operating system can run), target (the one that is used; the
    environment variable FASTINIT_TARGET forces one), threads
    (``get_num_threads``), cpus, huge_pages (whether fresh memory may get them:
    "0", "1" or "auto", by the environment variable FASTINIT_HUGE_PAGES).

    Parameters
    ----------
    mode : {"stdout", "dicts"}, default "stdout"
        "stdout" prints, "dicts" returns, as in ``numpy.show_config``.

    Returns
    -------
    dict or None
        A dict with mode="dicts".

    Raises
    ------
    TypeError, ValueError
        mode is neither of these.

    Notes
    -----
    Bits: ``stream_format`` is the version of docs/stream-format.md that this
    build follows.

    Examples
    --------
    >>> import fastinit
    >>> fastinit.show_config(mode="dicts")["version"] == fastinit.__version__
    True
    """
    choice("mode", mode, ("stdout", "dicts"))
    config = _core.config()
    if mode == "dicts":
        return config
    for name, value in config.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        print(f"{name.replace('_', ' '):<15}{text}")
    return None


def _after_fork() -> None:
    """In the child: another thread of the parent may have held a lock, and it is not here to give it back."""
    global _spawning
    _spawning = allocate_lock()
    _core.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)
