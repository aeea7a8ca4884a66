"""The compiled core. Everything here is private: `fastinit` itself is what users call."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

__version__: str
stream_format: int

BITS: int
UNIFORM: int
NORMAL: int
TRUNCATED: int
TRUNCATED_STD: int
CONSTANT: int
INTEGERS: int

# Each call checks all of its arguments before it writes: TypeError or ValueError that names the argument.
# a, b, c, d are by distribution: UNIFORM low, high; NORMAL mean, std; TRUNCATED mean, std, low, high;
# TRUNCATED_STD the same with bounds in units of std; CONSTANT value; INTEGERS low, high, whether high is one of them;
# BITS none.
def fill(
    out: Any,
    distribution: int,
    a: float,
    b: float,
    c: float,
    d: float,
    seed: int | Streams | None,
    stream: int | str | None,
    global_shape: Sequence[int] | None,
    offset: Sequence[int] | None,
    threads: int | None,
    bit_generator: str,
    /,
) -> None: ...

# Variance gain^2 scale / n. distribution: UNIFORM, NORMAL or TRUNCATED_STD (cut at +-2 and corrected).
def fill_scaled(
    out: Any,
    distribution: int,
    gain: float,
    scale: float,
    n: float,
    seed: int | Streams | None,
    stream: int | str | None,
    global_shape: Sequence[int] | None,
    offset: Sequence[int] | None,
    threads: int | None,
    bit_generator: str,
    /,
) -> None: ...
def shape(out: Any, /) -> tuple[int, ...]: ...  # of anything that `fill` could read; what it cannot is refused as there

# Refuses the parameters that `fill` would refuse for elements of this type, "float32" or another. Returns the bits of
# each element for CONSTANT, else 0.
def plan(distribution: int, element: str, a: float, b: float, c: float, d: float, /) -> int: ...

# What `fill` would write to, as an array of unsigned integers of the elements' size, and "float32" or another type.
def memory(out: Any, /) -> tuple[Any, str]: ...

# n, mean, std, minimum, maximum, digest
def summary(
    out: Any, global_shape: Sequence[Any] | None, offset: Sequence[Any] | None, threads: Any | None, /
) -> tuple[int, float, float, float, float, int]: ...

# Formulas around the fans, in the default floating-point environment, whatever the caller's is: (a + b) / 2, sqrt(a b),
# 2 / (1 + a a), sqrt(a).
def real(value: Any, name: str, wanted: str, /) -> float: ...  # a finite number; errors name it and say what is wanted
def arithmetic_mean(a: float, b: float, /) -> float: ...
def geometric_mean(a: float, b: float, /) -> float: ...
def slope_scale(a: float, /) -> float: ...
def square_root(a: float, /) -> float: ...

# What number the name of a stream stands for. To be called once, before the first name comes.
def name_streams(stream_of: Callable[[str], int], /) -> None: ...

# The seed of a generator, its next stream and the number of its children. Each call that is given it in the place of a
# seed, and no stream, takes the next. Safe to share among threads.
class Streams:
    def __init__(
        self, seed: int = ..., next: int = 0, children: int = 0, /
    ) -> None: ...  # without a seed: the system's
    def reset(self, seed: int, /) -> None: ...
    def state(self) -> tuple[int, int, int]: ...  # seed, next stream, children
    def spawn(self, n: int, /) -> tuple[int, int]: ...  # the seed, and the number of the first of n new children

default_streams: Streams  # of calls without a seed

# The seed and the stream that a call with these would have, as numbers; uses up what it would.
def stream_of(seed: int | Streams | None, stream: int | str | None, /) -> tuple[int, int]: ...

# After a fork, in the child: a new seed for default_streams, unless the seed came from reset.
def after_fork() -> None: ...
def set_num_threads(threads: int, /) -> None: ...
def get_num_threads() -> int: ...

# A writable array of n_bytes uint8 at a 64-byte boundary, on huge pages where it is large and the OS has them.
def allocate(n_bytes: int, /) -> Any: ...

# version, stream_format, compiler, targets_built, targets_found, target, cpus, threads
def config() -> dict[str, Any]: ...

# For the tests: force a target by name, or None to choose again; how many elements pay for a thread, 0 for the usual.
def set_target(name: str | None, /) -> None: ...
def set_grain(elements_per_thread: int, /) -> None: ...
def set_huge_pages(wish: str, /) -> None: ...  # instead of FASTINIT_HUGE_PAGES; "": the variable again
def known_answer(
    target: str, generator: Literal["ars", "philox"], rounds: int, counter: Sequence[int], key: Sequence[int], /
) -> list[int]: ...
