"""Promise: in a block of ``accelerate`` and after ``install``, what runs draws as in plain torch, and so are gradients.

Everything here is done twice from the same torch seed, without fastinit and with it, and compared bit for bit, together
with the state in which torch's generator is left. torch takes function modes off in ``backward``: what is repeated
there would be repeated with other numbers, if forward had been fastinit's.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import multiprocessing
import os
import pathlib
import time
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from conftest import library
from fastinit.torch import _stage, accelerate, install, uninstall

untyped: Any = torch  # for what mypy does not know

# --- how it is compared ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def installed(seed: int | None) -> Iterator[Any]:
    try:
        yield install(seed)
    finally:
        uninstall()


BLOCKS: dict[str, Callable[[], Any]] = {
    "accelerate()": accelerate,
    "accelerate(seed=0)": lambda: accelerate(seed=0),
    "install()": lambda: installed(None),
    "install(seed=0)": lambda: installed(0),
}


def flat(values: Any) -> list[bytes]:
    """The bytes of all tensors in a structure."""
    if isinstance(values, Tensor):
        return [values.detach().contiguous().numpy().tobytes()]
    return [piece for value in values for piece in flat(value)] if isinstance(values, list | tuple) else [repr(values)]  # type: ignore[list-item]


def same_as_plain(make: Callable[[], Callable[[], Any]], block: Any) -> Any:
    """Runs what ``make`` gives (which builds it, outside of the block) twice; returns the block's counts."""
    found: list[Any] = []
    for around in (contextlib.nullcontext, block):
        torch.manual_seed(1)
        run = make()
        torch.manual_seed(2)
        with around() as done:
            values = run()
        found.append((flat(values), torch.get_rng_state().tolist(), done))
    (plain, plain_state, _), (ours, state, counts) = found
    assert ours == plain
    assert state == plain_state
    assert counts.calls == 0
    return counts


def with_gradients(output: Tensor, *of: Any) -> list[Any]:
    """An output and the gradients of its square."""
    output.pow(2).mean().backward()  # type: ignore[no-untyped-call]
    return [output, *(tensor.grad for tensor in of if tensor.grad is not None)]


# --- activation checkpointing ---------------------------------------------------------------------------------------

NOISE: dict[str, Callable[[Tensor], Tensor]] = {
    "randn_like": torch.randn_like,
    "rand_like": torch.rand_like,
    "randn": lambda h: torch.randn(h.shape),
    "rand": lambda h: torch.rand(h.shape),
    "torch.normal": lambda h: torch.normal(1.0, 2.0, h.shape),
    "normal_": lambda h: torch.empty_like(h).normal_(),
    "uniform_": lambda h: torch.empty_like(h).uniform_(1, 2),
    "init.normal_": lambda h: nn.init.normal_(torch.empty_like(h)),
    "init.uniform_": lambda h: nn.init.uniform_(torch.empty(h.shape)),
    "init.kaiming_uniform_": lambda h: nn.init.kaiming_uniform_(torch.empty(h.shape)),
    "init.kaiming_normal_": lambda h: nn.init.kaiming_normal_(torch.empty(h.shape)),
    "init.xavier_uniform_": lambda h: nn.init.xavier_uniform_(torch.empty(h.shape)),
    "init.trunc_normal_": lambda h: nn.init.trunc_normal_(torch.empty(h.shape)),
    "init.trunc_normal_, narrow": lambda h: nn.init.trunc_normal_(torch.empty(h.shape), 0, 1, 0.1, 0.2),
    "init.orthogonal_": lambda h: nn.init.orthogonal_(torch.empty(h.shape)),
    "init.sparse_": lambda h: nn.init.sparse_(torch.empty(h.shape), 0.5),
    "a new layer": lambda h: nn.Linear(8, 8)(torch.ones(h.shape)),
    "a parameter": lambda h: nn.Parameter(torch.empty(h.shape)).data.normal_(),
    "a buffer": lambda h: untyped.nn.BatchNorm1d(8).running_mean.normal_().expand(h.shape),
    "dropout": lambda h: F.dropout(torch.ones_like(h), 0.5),
}


class Noisy(nn.Module):
    """A layer whose output is multiplied by what it draws."""

    def __init__(self, noise: Callable[[Tensor], Tensor] = torch.randn_like) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        return torch.as_tensor(h * self.noise(h))


def ones() -> Tensor:
    return torch.ones(4, 8, requires_grad=True)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("noise", NOISE)
def test_checkpointing(noise: str, reentrant: bool, block: str) -> None:
    """Of a plain function, of a module, and of a module within one."""

    def make() -> Callable[[], Any]:
        module, x = Noisy(NOISE[noise]), ones()

        def function(x: Tensor) -> Tensor:
            h = module.layer(x)
            return torch.as_tensor(h * NOISE[noise](h))

        def run() -> Any:
            def kept(function: Callable[..., Tensor]) -> Tensor:
                return torch.as_tensor(checkpoint(function, x, use_reentrant=reentrant))

            outputs = kept(function) + kept(module) + kept(nn.Sequential(module, module)) + module(x)
            return with_gradients(outputs, x, *module.parameters())

        return run

    done = same_as_plain(make, BLOCKS[block])
    assert done.passed > 0 or noise == "dropout"


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_gradients_of_none(reentrant: bool) -> None:
    """The same gradients with and without: this alone needs no comparison with plain torch."""
    module = nn.Linear(8, 8)

    def noisy(x: Tensor) -> Tensor:
        h = module(x)
        return torch.as_tensor(h * torch.randn_like(h))

    found = []
    for kept in (False, True):
        module.zero_grad()
        x = ones()
        torch.manual_seed(0)
        with accelerate():
            output = checkpoint(noisy, x, use_reentrant=reentrant) if kept else noisy(x)
            found.append(flat(with_gradients(output, x, *module.parameters())))
    assert found[0] == found[1]


def sequential() -> Callable[[], Any]:
    model, x = nn.Sequential(*(Noisy() for _ in range(4))), ones()
    return lambda: with_gradients(
        checkpoint_sequential(model, 2, x, use_reentrant=False),  # type: ignore[no-untyped-call]
        *model.parameters(),
    )


def gradient_of_parameters() -> Callable[[], Any]:
    module, x = Noisy(), ones()
    return lambda: torch.autograd.grad(
        checkpoint(module, x, use_reentrant=False).pow(2).mean(),
        [x, *module.parameters()],
    )


def autograd_backward() -> Callable[[], Any]:
    module, x = Noisy(), ones()

    def run() -> Any:
        torch.autograd.backward([checkpoint(module, x, use_reentrant=False).mean()])
        return [x.grad, *(parameter.grad for parameter in module.parameters())]

    return run


def double_backward() -> Callable[[], Any]:
    module, x = Noisy(), ones()

    def run() -> Any:
        output = checkpoint(lambda x: module(x).tanh(), x, use_reentrant=False)
        (first,) = torch.autograd.grad(output.pow(2).mean(), x, create_graph=True)
        return [first, *with_gradients(first, x, *module.parameters())]

    return run


class Recomputed(torch.autograd.Function):
    """x times noise, which ``backward`` draws again from the generator's state."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Draws."""
        ctx.state = torch.get_rng_state()
        return x * nn.init.normal_(torch.empty_like(x)) * torch.randn_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Draws the same."""
        with torch.random.fork_rng():
            torch.set_rng_state(ctx.state)
            return gradients[0] * nn.init.normal_(torch.empty_like(gradients[0])) * torch.randn_like(gradients[0])


class RecomputedInNewStyle(torch.autograd.Function):
    """The same, with ``setup_context``."""

    @staticmethod
    def forward(x: Tensor) -> Any:
        """Draws."""
        state = torch.get_rng_state()
        return x * nn.init.normal_(torch.empty_like(x)) * torch.randn_like(x), state

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps the state."""
        ctx.state = output[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Draws the same."""
        return Recomputed.backward(ctx, *gradients)


def function_that_recomputes(kind: Any) -> Callable[[], Any]:
    layer, x = nn.Linear(8, 8), ones()

    def run() -> Any:
        output = kind.apply(layer(x))
        return with_gradients(output[0] if isinstance(output, tuple) else output, x, *layer.parameters())

    return run


def function_without_a_frame() -> Callable[[], Any]:
    """As in torch 2.14, where no frame of Python's stands between ``apply`` and ``forward``."""
    x = ones()
    return lambda: [Recomputed.forward(types.SimpleNamespace(), x), RecomputedInNewStyle.forward(x)[0]]


def of_another_name(x: Tensor) -> Tensor:
    return x * nn.init.normal_(torch.empty_like(x)) * torch.randn_like(x)


class Renamed(torch.autograd.Function):
    """Its ``forward`` is a function of another name."""

    forward = staticmethod(of_another_name)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps nothing."""


class Mixin:
    """Not an autograd function, but one may have its ``forward`` from it."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Draws."""
        return x * nn.init.normal_(torch.empty_like(x)) * torch.randn_like(x)


class Mixed(Mixin, torch.autograd.Function):
    """Its ``forward`` is its base's."""

    setup_context = Renamed.setup_context


def functions_by_their_bodies() -> Callable[[], Any]:
    """As in torch 2.14 again, where no name and no class of its own gives such a ``forward`` away."""
    x = ones()
    return lambda: [Renamed.forward(x), Mixed.forward(x)]


def functional_call() -> Callable[[], Any]:
    module, x = Noisy(NOISE["init.normal_"]), ones()
    values = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}

    def call(x: Tensor) -> Any:
        return torch.func.functional_call(module, values, (x,))

    return lambda: with_gradients(call(x) + checkpoint(call, x, use_reentrant=False), x, *values.values())


def forward_called_directly() -> Callable[[], Any]:
    module, x = Noisy(NOISE["init.normal_"]), ones()
    return lambda: with_gradients(module.forward(x), x)


class Packed(Noisy):
    """Takes the module as one of its arguments, as wrappers do."""

    def forward(*args: Any, scale: Any = None) -> Tensor:
        """As ever."""
        module, x = args
        h = module.layer(x)
        return torch.as_tensor(nn.Linear(8, 8)(h) * module.noise(h))


def forward_of_packed_arguments() -> Callable[[], Any]:
    module, x = Packed(), ones()
    return lambda: with_gradients(module.forward(x), x)


def hooks() -> Callable[[], Any]:
    """What hooks draw before, after and behind a module."""
    module, x = nn.Linear(8, 8), ones()
    module.register_forward_pre_hook(lambda module, args: args[0] * nn.init.normal_(torch.empty(8)))
    module.register_forward_hook(lambda module, args, output: output * nn.init.uniform_(torch.empty(8)))
    module.register_full_backward_hook(lambda module, before, after: (torch.randn(4, 8),))
    x.register_hook(lambda gradient: gradient * torch.randn(8))  # type: ignore[no-untyped-call]
    return lambda: with_gradients(checkpoint(module, x, use_reentrant=False), x, *module.parameters())


class VAE(nn.Module):
    """Samples by methods of its own, which training code also calls by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 8), nn.Linear(4, 8)

    def sample(self, x: Tensor) -> Tensor:
        """A latent value."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return torch.as_tensor(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.decoder(checkpoint(self.sample, x, use_reentrant=False)))


def vae() -> Callable[[], Any]:
    model, x = VAE(), ones()
    return lambda: with_gradients(model(x) + model.decoder(model.sample(x)), x, *model.parameters())


def lazy_modules() -> Callable[[], Any]:
    """They draw their weights in the first forward."""
    model, x = nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(3)), ones()
    return lambda: with_gradients(checkpoint(model, x, use_reentrant=False), x) + list(model.parameters())


class Built(nn.Module):
    """Builds layers when it runs, as hypernetworks and searches do."""

    def forward(self, x: Tensor) -> Tensor:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        layer.linear1.reset_parameters()
        return torch.as_tensor(layer(x[None])[0] * VAE()(x))


def modules_built_in_forward() -> Callable[[], Any]:
    model, x = Built(), ones()
    return lambda: with_gradients(checkpoint(model, x, use_reentrant=False), x)


def transformer_of_torch() -> Callable[[], Any]:
    model, x = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), ones()[None].detach().requires_grad_()
    return lambda: with_gradients(checkpoint(model, x, use_reentrant=True), *model.parameters())


def training() -> Callable[[], Any]:
    """Steps of a loop with noise of its own: in the data, in the gradients, in the update."""
    model = nn.Sequential(Noisy(), nn.Dropout(0.3), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def run() -> Any:
        losses = []
        for _ in range(3):
            x = torch.rand(4, 8) + 0.1 * torch.empty(4, 8).normal_()
            optimizer.zero_grad()
            loss = checkpoint(model, x, use_reentrant=False).pow(2).mean()
            loss.backward()
            for parameter in model.parameters():
                parameter.grad += 0.01 * torch.randn_like(parameter)  # type: ignore[operator]
                parameter.data += 0.01 * torch.randn_like(parameter.data)
            optimizer.step()
            losses.append(loss)
        return losses + list(model.parameters())

    return run


def gpt2() -> Callable[[], Any]:
    transformers = library("transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_embd=32, n_head=4, vocab_size=100, n_positions=20, bos_token_id=0, eos_token_id=0, use_cache=False
    )
    model = transformers.GPT2LMHeadModel(config)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    model.get_input_embeddings().register_forward_hook(  # NEFTune
        lambda module, args, output: output + torch.zeros_like(output).uniform_(-0.1, 0.1)
    )
    tokens = torch.arange(20).view(2, 10)
    return lambda: with_gradients(model(tokens, labels=tokens).loss, *model.parameters())


RUNS: dict[str, Callable[[], Callable[[], Any]]] = {
    "checkpoint_sequential": sequential,
    "autograd.grad": gradient_of_parameters,
    "autograd.backward": autograd_backward,
    "double backward": double_backward,
    "Function": functools.partial(function_that_recomputes, Recomputed),
    "Function with setup_context": functools.partial(function_that_recomputes, RecomputedInNewStyle),
    "functional_call": functional_call,
    "forward": forward_called_directly,
    "Function, without a frame": function_without_a_frame,
    "forward(*args)": forward_of_packed_arguments,
    "hooks": hooks,
    "VAE": vae,
    "lazy modules": lazy_modules,
    "modules built in forward": modules_built_in_forward,
    "TransformerEncoderLayer": transformer_of_torch,
    "training": training,
    "GPT-2": gpt2,
}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
def test_what_runs(name: str, block: str) -> None:
    same_as_plain(RUNS[name], BLOCKS[block])


def test_what_is_built_before_it_runs_in_one_block() -> None:
    """The weights are fastinit's, and what the model draws is torch's."""
    with accelerate(seed=3) as done:
        model = VAE()
        assert (done.calls, done.passed) == (4, 0)
        x = ones()
        torch.manual_seed(2)
        inside = flat(with_gradients(model(x), x))
        assert (done.calls, done.passed) == (4, 1)  # and one in backward, where torch does not ask
    y = ones()
    torch.manual_seed(2)
    assert inside == flat(with_gradients(model(y), y))


# --- compiled -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS)
def test_a_forward_of_any_name(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[Any] = [Renamed, Mixed]
    same_as_plain(lambda: lambda: [kind.apply(ones()) for kind in kinds], BLOCKS[block])
    monkeypatch.setattr(_stage, "_APPLY_IS_A_FRAME", False)
    same_as_plain(functions_by_their_bodies, BLOCKS[block])
    with BLOCKS[block]() as done:
        nn.Linear(2, 2)
    assert (done.calls, done.passed) == (2, 0)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_as_one_graph(backend: str, block: str) -> None:
    """Each draw of a forward, and ``data`` and ``detach`` of its parameters; compiled once, however often it runs."""

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            h = self.layer(x) * self.layer.weight.data.sum() * self.layer.bias.detach().sum()
            for name in ("randn_like", "rand_like", "randn", "rand", "torch.normal", "normal_", "uniform_"):
                h = h * NOISE[name](h)
            return torch.as_tensor(h * nn.init.normal_(torch.empty_like(h)) * nn.init.uniform_(torch.empty_like(h)))

    def make() -> Callable[[], Any]:
        torch._dynamo.reset()
        module, x = Whole(), ones()
        compiled = torch.compile(module, backend=backend, fullgraph=True)
        return lambda: with_gradients(sum(compiled(x) for _ in range(12)), x, *module.parameters())

    try:
        same_as_plain(make, BLOCKS[block])
    finally:
        torch._dynamo.reset()


# --- data workers ---------------------------------------------------------------------------------------------------


class Drawn(torch.utils.data.Dataset[Any]):
    """Examples that are drawn, and augmented by a layer that is built for each of them."""

    def __init__(self, everything: bool) -> None:
        self.everything = everything

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        values = [torch.randn(3), torch.empty(3).uniform_(), torch.rand_like(torch.ones(3))]
        if self.everything:
            values += [nn.init.normal_(torch.empty(3)), nn.init.trunc_normal_(torch.empty(3)), *VAE().parameters()]
        return [value.detach() for value in values]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_data_workers(workers: int, block: str) -> None:
    def make() -> Callable[[], Any]:
        loader = torch.utils.data.DataLoader(
            Drawn(workers > 0),
            batch_size=2,
            num_workers=workers,
            shuffle=True,
            multiprocessing_context="fork" if workers else None,
        )
        return lambda: [list(batch) for batch in loader]

    same_as_plain(make, BLOCKS[block])


# --- data-parallel --------------------------------------------------------------------------------------------------


def process(rank: int, size: int, directory: str) -> None:
    """One process of a group: compares gradients, and leaves a file that says what was wrong."""
    torch.set_num_threads(1)
    said = pathlib.Path(directory, f"said-{rank}")
    try:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{directory}/rendezvous",
            rank=rank,
            world_size=size,
            timeout=datetime.timedelta(seconds=60),
        )

        def make() -> Callable[[], Any]:
            model = nn.parallel.DistributedDataParallel(nn.Sequential(Noisy(), VAE()))
            x = ones()
            return lambda: with_gradients(
                model(x) + checkpoint(model.module, x, use_reentrant=False), *model.parameters()
            )

        for block in BLOCKS.values():
            same_as_plain(make, block)
        torch.distributed.destroy_process_group()
        said.write_text("all is well")
    except BaseException:
        said.write_text(f"process {rank} of {size}: {traceback.format_exc()}")
        raise


@pytest.mark.parametrize("size", [1, 2])
def test_distributed_data_parallel(size: int, tmp_path: pathlib.Path) -> None:
    context = multiprocessing.get_context("spawn")
    group = [context.Process(target=process, args=(rank, size, str(tmp_path)), daemon=True) for rank in range(size)]
    for member in group:
        member.start()
    end = time.monotonic() + 120
    for member in group:
        member.join(max(0.0, end - time.monotonic()))
        member.kill()
        member.join()
    said = [path.read_text() for path in tmp_path.glob("said-*")]
    assert said == ["all is well"] * size
