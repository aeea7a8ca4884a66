"""What holds for the whole process: the default seed, the number of threads, what was built and found."""

from __future__ import annotations

import os
from typing import Any, Literal, overload

from . import _core
from ._arguments import Integer, choice

__all__ = ["get_num_threads", "manual_seed", "set_num_threads", "show_config"]


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


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, Any]: ...
def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show how fastinit was built and what it found on this machine.

    version, stream_format, compiler, targets_built, targets_found (those that
    this CPU and operating system can run), target (the one that is used; the
    environment variable FASTINIT_TARGET forces one), threads
    (``get_num_threads``), cpus.

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


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_core.after_fork)
