"""``coordinate_check``: muP's check of models of any kind, at several widths."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastinit._arguments import count, documented, shown, typed
from fastinit.signal import Coordinates
from fastinit.signal._activations import Floats
from fastinit.signal._width import widths_of

from . import _compat
from ._parameters import plain_name
from ._running import array_of, called, first_float, loss_of, refuse
from ._signal import eager

__all__ = ["coordinate_check"]


@documented
def coordinate_check(
    make: Callable[[int], tuple[nn.Module, torch.optim.Optimizer]],
    widths: Any,
    batch: Any,
    loss: Callable[[Any], Tensor] | None = None,
    *,
    steps: int = 3,
) -> Coordinates:
    """Fit log(change of h_l) = slope_l log(width) + const: muP's check.

    A model of each width is trained for a few steps on one batch, to see how
    far the output of each layer moves. In muP no slope is above 0. Where one
    is, a learning rate that suits a narrow model is too large for a wide one.

    Parameters
    ----------
    make : callable
        From a width to a model, initialised and in the mode in which it is to
        run, and its optimizer, with the rates that the width asks for.
    widths : sequence of int
        At least two different ones.
    batch : tensor, tuple, mapping, or anything else
        The model is called as ``model(*batch)`` with a tuple, as
        ``model(**batch)`` with a mapping, else as ``model(batch)``.
    loss : callable, optional
        From the model's output to a scalar. By default, the output itself if
        it is a scalar, or its "loss" if it is a mapping that has one.
    steps : int, default 3
        The number of steps of the optimizer.

    Returns
    -------
    fastinit.signal.Coordinates
        For each call of a layer with a weight of two or more dimensions, the
        root mean square of the change of its output, and the slopes. ``print``
        shows a table, ``plot`` a picture.

    Raises
    ------
    TypeError
        make returns something else than a pair of a module and an optimizer,
        or loss something else than a tensor.
    ValueError
        An argument is not what is described above; there is no loss; the
        models have layers of different names; or as for ``signal``.

    Notes
    -----
    Both passes that are compared, before and after, run with the same random
    numbers, so that dropout leaves out the same. The models are those of the
    caller, and stay trained; PyTorch's random state moves on by the training.

    References
    ----------
    Yang et al., "Tensor programs V: tuning large neural networks via zero-shot
    hyperparameter transfer", 2022, Section D.

    Examples
    --------
    >>> import torch, fastinit.torch
    >>> from torch import nn
    >>> def make(width):
    ...     hidden = nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
    ...     model = nn.Sequential(*hidden, nn.Linear(width, 16))
    ...     return model, torch.optim.Adam(model.parameters(), lr=0.001)
    >>> x, y = torch.randn(32, 16), torch.randn(32, 16)
    >>> found = fastinit.torch.coordinate_check(
    ...     make, [64, 128, 256, 512], x, lambda output: (output - y).square().mean()
    ... )
    >>> found.layers, found.slopes["2"] > 0.4  # one rate for all layers is not muP
    (('0', '2', '4'), True)
    """
    sizes = widths_of(widths)
    n_steps = count("steps", steps)
    names: tuple[str, ...] = ()
    moved = []
    for n in sizes:
        model, optimizer = _made(make, n)
        refuse(model, batch)
        with eager(), torch.inference_mode(False), torch.enable_grad():
            before = _outputs(model, batch)
            for _ in range(n_steps):
                optimizer.zero_grad()
                _loss(called(model, batch), loss).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            after = _outputs(model, batch)
        names = names or tuple(before)
        if tuple(before) != names or not names:
            raise ValueError(
                f"make must give models with the same layers at each width, at least one, got {shown(list(names))} "
                f"at {sizes[0]} and {shown(list(before))} at {n}"
            )
        moved.append(tuple(_distance(before[name], after[name]) for name in names))
    return Coordinates(sizes, names, tuple(moved))


def _made(make: Callable[[int], Any], width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    made = make(width)
    if isinstance(made, tuple) and len(made) == 2:
        model, optimizer = made
        if isinstance(model, nn.Module) and isinstance(optimizer, torch.optim.Optimizer):
            return model, optimizer
    raise TypeError(f"make must return a module and its optimizer, as a tuple, got {typed(made)}")


def _loss(output: Any, loss: Callable[[Any], Tensor] | None) -> Tensor:
    found = loss_of(output, loss)
    if found is None and isinstance(output, Tensor) and output.numel() == 1:
        found = output.reshape(())
    if found is None:
        raise ValueError(f"loss must be given where the model returns none, got loss=None and {typed(output)}")
    return found


def _outputs(model: nn.Module, batch: Any) -> dict[str, Floats]:
    """Of each call of a layer, by its name; the second call of "fc" is "fc#2"."""
    found: dict[str, Floats] = {}
    calls: dict[str, int] = {}

    def watched(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            y = first_float(output)
            if y is not None:
                n = calls[name] = calls.get(name, 0) + 1
                # A copy, since what comes next may write there.
                found[name if n == 1 else f"{name}#{n}"] = array_of(y).copy()

        return hook

    handles = []
    try:
        for name, module in model.named_modules():
            weight = _compat.parameters_of(module).get("weight")
            if isinstance(weight, Tensor) and weight.ndim > 1:
                handles.append(module.register_forward_hook(watched(plain_name(name) or type(module).__name__)))
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            called(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _distance(before: Floats, after: Floats) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # of training that diverged
        return math.sqrt(np.square(after - before, dtype=np.float64).mean())
