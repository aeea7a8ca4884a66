"""Building models in Keras, by its initialisers and by fastinit's: `python -m bench.keras_models`, from the root.

On the backend that KERAS_BACKEND says. Both build the same models by turns, so that the ratios compare neighbours in
time; `fastinit.keras.install()` is the only difference. Asserts nothing.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from .rows import optional


def models(keras: Any) -> dict[str, Callable[[], Any]]:
    """What builds each model, by name."""
    layers = keras.layers

    def dense(width: int, depth: int) -> Any:
        model = keras.Sequential([layers.Dense(width, kernel_initializer="he_normal") for _ in range(depth)])
        model.build((None, width))
        return model

    def transformer() -> Any:
        x = inputs = keras.Input((128, 768))
        for _ in range(12):
            y = layers.LayerNormalization()(x)
            x = x + layers.MultiHeadAttention(12, 64)(y, y)
            y = layers.LayerNormalization()(x)
            x = x + layers.Dense(768)(layers.Dense(3072, "gelu")(y))
        return keras.Model(inputs, x)

    return {
        "8 Dense of 4096 units, he_normal": lambda: dense(4096, 8),
        "12 blocks of GPT-2 small": transformer,
        "ResNet50": lambda: keras.applications.ResNet50(weights=None),
        "50 Dense of 64 units, he_normal": lambda: dense(64, 50),
    }


def seconds(keras: Any, make: Callable[[], Any]) -> tuple[float, int]:
    """How long it takes until all weights are there, and how many there are."""
    keras.utils.clear_session()
    gc.collect()  # layers refer to each other, and their memory would count
    begin = time.perf_counter()
    model = make()
    if keras.backend.backend() == "jax":
        importlib.import_module("jax").block_until_ready([weight.value for weight in model.weights])
    return time.perf_counter() - begin, model.count_params()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.keras_models", description=f"{__doc__}".splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="the models whose names have this in them")
    arguments = parser.parse_args(argv)
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # for TensorFlow
    keras = optional("keras")
    if keras is None:
        print("keras is not installed")
        return 1
    ours = importlib.import_module("fastinit.keras")
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: the shortest of {arguments.rounds} rounds")
    for name, make in models(keras).items():
        if arguments.only not in name:
            continue
        theirs, with_ours = [], []
        n = seconds(keras, make)[1]  # the first of a process loads what it needs
        for _ in range(arguments.rounds):
            theirs.append(seconds(keras, make)[0])
            ours.install(seed=0)
            with_ours.append(seconds(keras, make)[0])
            ours.uninstall()
        print(
            f"  {name:<34} {n / 1e6:6.1f} M parameters: Keras {min(theirs):.3f} s, fastinit {min(with_ours):.3f} s, "
            f"x {min(theirs) / min(with_ours):.1f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
