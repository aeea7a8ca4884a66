"""New arrays in JAX, by its initialisers and by fastinit's: `python -m bench.jax_arrays`, from the root.

Both make he_normal in JAX's sense (truncated, corrected): on one device, and on a mesh of eight, which XLA makes of
this CPU. All rows of a table run in each round, so the ratios compare neighbours in time. Asserts nothing.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from . import clock
from .rows import optional

DTYPES = ("float32", "bfloat16")


def _row(jax: Any, who: str, dtype: str, name: str, n: int, make: Callable[[Any, tuple[int, int]], Any]) -> clock.Row:
    def bind(part: int) -> tuple[clock.Names, int]:
        shape = (n // part // 4096, 4096)
        return {"make": make, "key": jax.random.key(1), "shape": shape}, shape[0] * shape[1]

    itemsize = 2 if dtype == "bfloat16" else 4
    return clock.Row(who, dtype, name, "make(key, shape).block_until_ready()", bind, itemsize)


def tables(jax: Any, n: int) -> list[clock.Table]:
    """For each dtype one table of one device and one of eight."""
    import fastinit.jax

    theirs, ours = jax.nn.initializers.he_normal(), fastinit.jax.he_normal()
    mesh = jax.make_mesh((4, 2), ("a", "b"))
    blocks = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("a", "b"))
    made = []
    for dtype in DTYPES:

        def row(who: str, name: str, make: Callable[[Any, Any], Any], dtype: str = dtype) -> clock.Row:
            return _row(jax, who, dtype, name, n, make)

        def jitted(init: Any, dtype: str = dtype, **where: Any) -> Any:
            return jax.jit(functools.partial(init, dtype=dtype), static_argnums=1, **where)

        def placed(sharding: Any, dtype: str = dtype) -> Any:
            return lambda key, shape: fastinit.jax.make_array(
                shape, ours, seed=1, stream="w", sharding=sharding, dtype=dtype
            )

        one = [
            row("fastinit", "fastinit.jax.he_normal()", functools.partial(ours, dtype=dtype)),
            row("fastinit", "fastinit.jax.he_normal(), jit", jitted(ours)),
            row("jax", "jax.nn.initializers.he_normal()", functools.partial(theirs, dtype=dtype)),
            row("jax", "jax.nn.initializers.he_normal(), jit", jitted(theirs)),
        ]
        eight = [
            row("fastinit", "fastinit.jax.make_array", placed(blocks)),
            row("jax", "jax.nn.initializers.he_normal(), jit with out_shardings", jitted(theirs, out_shardings=blocks)),
        ]
        for name, rows in (("one device", one), ("a mesh of eight", eight)):
            ratios = [
                clock.Ratio(f"{row.name} by the fastest of JAX", row, [other for other in rows if other.who == "jax"])
                for row in rows
                if row.who == "fastinit"
            ]
            made.append(clock.Table(name, f"{n} values of {dtype} on {name}", None, rows, ratios))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.jax_arrays", description=f"{__doc__}".splitlines()[0])
    parser.add_argument("--log2", type=int, default=26, help="of the number of elements, at least 20 (26)")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    jax = optional("jax")
    if jax is None:
        print("jax is not installed")
        return 1
    for table in tables(jax, 2**arguments.log2):
        clock.measure(table, clock.Effort(arguments.rounds, longest=30.0, shortest=0.01), lambda _: None)
        print(f"\n{table.question}")
        for row in table.rows:
            rate = f"{row.values_per_second() / 1e9:7.3f} 10^9 values/s" if row.measured else row.error
            print(f"  {row.name:<56} {rate}")
        for ratio in table.ratios:
            value = ratio.value()
            print(f"  {ratio.text:<72} {'missing' if value is None else f'x {value:.1f}'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
