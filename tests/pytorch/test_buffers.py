"""Promise: a buffer has the value that its module gives it, whatever was in its memory; or it is refused by name."""

from __future__ import annotations

import functools
import math
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_module import MLP, NORMAL, Net, expanded, fake_cuda, on_meta, rank_of  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import fastinit.torch  # noqa: E402
from conftest import library  # noqa: E402
from fastinit.torch import init_module  # noqa: E402


def garble(module: Any) -> Any:
    """As after ``to_empty``, with the worst that may be there."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if not tensor.is_meta:
                tensor.fill_(math.nan if tensor.is_floating_point() else -77)
    return module


def buffers_of(module: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in module.named_buffers(remove_duplicate=False)}


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(map(torch.equal, one.values(), other.values()))


# --- memory that nobody has written ---------------------------------------------------------------------------------


NORMS: dict[str, Callable[[], Any]] = {
    "BatchNorm1d": lambda: nn.BatchNorm1d(4),
    "BatchNorm2d": lambda: nn.BatchNorm2d(4, affine=False),
    "BatchNorm3d": lambda: nn.BatchNorm3d(4),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm(4),
    "InstanceNorm1d": lambda: nn.InstanceNorm1d(4, track_running_stats=True),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "half": lambda: nn.BatchNorm1d(4).half(),
}


@pytest.mark.parametrize("norm", list(NORMS))
def test_after_to_empty_a_norm_has_its_first_statistics(norm: str) -> None:
    module: Any = on_meta(lambda: nn.Sequential(nn.Linear(3, 4), NORMS[norm]()))
    garble(module.to_empty(device="cpu"))
    before = {name: (tensor, tensor.data_ptr(), tensor._version) for name, tensor in module.named_buffers()}
    report = init_module(module, NORMAL, seed=0)
    wanted = buffers_of(nn.Sequential(nn.Linear(3, 4), NORMS[norm]()))
    assert equal(buffers_of(module), wanted)
    assert report.buffers == tuple(wanted)
    for name, tensor in module.named_buffers():
        old, address, version = before[name]
        assert tensor is old
        assert tensor.data_ptr() == address
        assert tensor._version > version  # autograd is told


def test_a_lazy_norm_is_refused_by_name_until_it_has_a_shape() -> None:
    module: Any = nn.Sequential(nn.LazyBatchNorm1d(affine=False), nn.Linear(2, 2))
    with pytest.raises(
        ValueError, match=r"buffer '0\.running_mean' of LazyBatchNorm1d has no shape yet: run the module"
    ):
        init_module(module, NORMAL, seed=0)
    init_module(module, NORMAL, seed=0, exclude="0.*")
    module(torch.ones(3, 2))
    garble(module)
    init_module(module, NORMAL, seed=0)
    assert module[0].running_var.tolist() == [1.0, 1.0]


def test_buffers_that_are_right_are_kept() -> None:
    module: Any = Net(mask=True)
    garble(module)
    module.mask.copy_(torch.tensor([1.0, 2.0, 3.0]))
    before = [(tensor, tensor._version) for tensor in module.buffers()]
    report = init_module(module, MLP, seed=0, buffers="keep")
    assert all(tensor._version == version for tensor, version in before)
    assert report.buffers == ()
    assert report.kept == ("mask", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked")
    assert str(report).splitlines()[-1] == f"buffers kept: {', '.join(report.kept)}"
    first: Any = {"ma*": "keep", "*": lambda owner: torch.full_like(owner.running_mean, 2.0)}  # the first that matches
    report = init_module(module, MLP, seed=0, buffers=first, exclude="*.num_batches_tracked")
    assert (report.kept, report.buffers) == (("mask",), ("norm.running_mean", "norm.running_var"))
    assert module.norm.running_var.tolist() == [2.0] * 8
    assert init_module(nn.Linear(2, 2), NORMAL, seed=0, buffers="keep").kept == ()  # none to keep
    with pytest.raises(ValueError, match=r'"keep" is for .* these have none, .* meta device: \'mask\' of Net, \'norm'):
        init_module(on_meta(lambda: Net(mask=True)), MLP, seed=0, buffers="keep")
    assert module.mask.tolist() == [1.0, 2.0, 3.0]


def rotary(theta: float = 1e4) -> Any:
    class Rotary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rope_init()

        def rope_init(self) -> None:
            self.register_buffer("theta", theta ** -torch.arange(0, 1, 0.25), persistent=False)

    return Rotary()


def test_a_method_of_the_module_computes_its_buffer() -> None:
    module = on_meta(lambda: nn.Sequential(rotary(), nn.BatchNorm1d(2, track_running_stats=False)))
    report = init_module(module, NORMAL, seed=0)
    assert torch.equal(module[0].theta, rotary().theta)
    assert report.buffers == ("0.theta",)  # and not those of the norm, which has set them to None
    assert "0.theta" not in module.state_dict()  # as little persistent as before


def test_methods_are_asked_on_a_copy() -> None:
    """reset_parameters of the module that has the buffer must not touch its parameters, or its other buffers."""

    class Both(nn.Module):
        count: Tensor
        drawn: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)
            self.scale = nn.Parameter(torch.ones(3))
            self.register_buffer("drawn", torch.empty(3))
            self.register_buffer("count", torch.zeros(3))
            self.reset_parameters()

        def reset_parameters(self) -> None:
            with torch.no_grad():
                self.inner.weight.fill_(9.0)
                self.scale.fill_(9.0)
                self.count += 1
                self.count.copy_(self.inner.weight.new_ones(3, device="cpu"))
                self.drawn.fill_(4.0)
                self.drawn += self.count  # which it has written itself
                torch.rand(3)
                np.random.rand()  # noqa: NPY002
                random.random()

    module: Any = Both()
    module.drawn = module.drawn.to("meta")
    state = torch.get_rng_state()
    others = str(np.random.get_state(legacy=False)), random.getstate()  # noqa: NPY002
    module.never = on_meta(functools.partial(Broken, "nothing"))
    before = [(tensor, tensor._version) for tensor in (module.scale, *module.inner.parameters(), module.count)]
    with pytest.raises(ValueError, match=r"'never.table' of Broken"):
        init_module(module, NORMAL, seed=0)
    assert all(tensor._version == version for tensor, version in before)
    assert module.drawn.is_meta
    del module.never
    init_module(module, NORMAL, seed=0)
    assert module.drawn.tolist() == [5.0] * 3
    assert module.count.tolist() == [1.0] * 3
    assert module.count is before[-1][0]
    assert 9.0 not in module.scale.tolist() + module.inner.weight.flatten().tolist()
    assert torch.equal(state, torch.get_rng_state())
    assert others == (str(np.random.get_state(legacy=False)), random.getstate())  # noqa: NPY002


def test_a_buffer_that_follows_from_one_without_values_is_missing() -> None:
    class Follows(nn.Module):
        base: Tensor
        twice: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.register_buffer("base", torch.ones(3))
            self.register_buffer("twice", torch.ones(3))

        def reset_parameters(self) -> None:
            self.twice.copy_(2 * self.base)

    module: Any = on_meta(Follows)
    buffers = {"base": lambda _: torch.full((3,), 5.0)}
    words = (
        r"computes these buffers: 'twice' of Follows \(what its reset_parameters computes follows from values that are"
    )
    with pytest.raises(ValueError, match=words):
        init_module(module, NORMAL, seed=0, buffers=buffers)
    init_module(module, NORMAL, seed=0, buffers={**buffers, "twice": lambda _: torch.full((3,), 10.0)})
    assert module.twice.tolist() == [10.0] * 3


def test_one_buffer_in_two_modules_stays_one() -> None:
    def build() -> Any:
        one, two = rotary(), rotary()
        two.theta = one.theta
        return nn.Sequential(one, two, nn.Linear(2, 2))

    module: Any = on_meta(build)
    assert init_module(module, NORMAL, seed=0).buffers == ("0.theta", "1.theta")
    assert module[0].theta is module[1].theta
    assert not module[0].theta.is_meta


def test_the_caller_computes_buffers() -> None:
    module: Any = on_meta(lambda: Net(mask=True))
    seen: list[nn.Module] = []

    def mask(owner: nn.Module) -> Any:
        seen.append(owner)
        return torch.tensor([1.0, 0.0, 1.0])

    functions = {"ma*": mask, "norm.running_mean": lambda _: torch.full((8,), 3.0), "*mean": lambda _: torch.zeros(8)}
    report = init_module(module, MLP, seed=0, buffers=functions)
    assert seen == [module]
    assert module.mask.tolist() == [1.0, 0.0, 1.0]
    assert module.norm.running_mean.tolist() == [3.0] * 8  # before the module's own method
    assert module.norm.running_var.tolist() == [1.0] * 8
    assert set(report.buffers) == {name for name, _ in module.named_buffers()}
    old = module.mask.zero_()
    init_module(module, MLP, seed=0, buffers={"mask": mask})  # it has memory now, and is written there
    assert module.mask is old
    assert old.tolist() == [1.0, 0.0, 1.0]


def test_buffers_have_memory_of_their_own() -> None:
    """Whatever a function returns: one tensor for all, one that is the caller's, one element seen as many."""
    table = torch.zeros(3)
    returned: list[Callable[[nn.Module], Tensor]] = [
        lambda _: table,
        lambda _: torch.zeros(1).expand(3),
        lambda _: torch.zeros(6)[::2],
    ]
    for mask in returned:
        modules: Any = on_meta(lambda: nn.ModuleList([Net(mask=True), Net(mask=True)]))
        init_module(modules, NORMAL, seed=0, buffers={"*.mask": mask})
        modules[0].mask[0] += 1
        assert modules[0].mask.tolist() == [1.0, 0.0, 0.0]
        assert modules[1].mask.tolist() == table.tolist() == [0.0, 0.0, 0.0]
        assert modules[0].mask.is_contiguous()


class Broken(nn.Module):
    """Buffers that no method computes: one fails, one writes another shape, one writes nothing, one removes it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("table", torch.ones(3))
        self.linear = nn.Linear(2, 2)
        if kind == "copy":
            self.lock = (i for i in range(3))  # cannot be copied

    def reset_parameters(self) -> None:
        if self.kind == "fails":
            raise RuntimeError("no luck")
        if self.kind == "shape":
            self.table = torch.ones(4)
        if self.kind == "dtype":
            self.table = torch.ones(3, dtype=torch.float64)
        if self.kind == "layout":
            self.table = torch.ones(3).to_sparse()
        if self.kind == "none":
            self.table = None


@pytest.mark.parametrize("build", [lambda f: f(), on_meta], ids=["real", "meta"])
@pytest.mark.parametrize("kind", ["fails", "shape", "dtype", "layout", "none", "nothing", "copy"])
def test_a_buffer_that_nobody_computes_is_named(kind: str, build: Any) -> None:
    module = nn.Sequential(build(functools.partial(Broken, kind)), nn.Linear(2, 2), nn.BatchNorm1d(2))
    garble(module[2])
    before = [(tensor, tensor._version) for tensor in (*module.parameters(), *module.buffers())]
    why = {"fails": r" \(its reset_parameters raised RuntimeError: no luck\)", "shape": r" \(its .* shape .*4.*3"}
    why |= {"dtype": r" \(its .* dtype .*float64 instead of .*float32", "layout": r" \(its .* layout .*sparse"}
    words = rf"^no method of their modules computes these buffers: '0.table' of Broken{why.get(kind, '[.,]')}"
    with pytest.raises(ValueError, match=words) as caught:
        init_module(module, NORMAL, seed=0)
    assert ("memory that nobody has written, as after to_empty" in str(caught.value)) == (build is not on_meta)
    assert ('buffers="keep"' in str(caught.value)) == (build is not on_meta)
    assert "pass buffers={pattern: function}, where" in str(caught.value).replace("else ", "pass ")
    assert isinstance(caught.value.__cause__, RuntimeError) == (kind == "fails")
    now = [*module.parameters(), *module.buffers()]
    assert all(one is other and one._version == version for one, (other, version) in zip(now, before, strict=True))


@pytest.mark.parametrize(
    ("buffers", "error", "message"),
    [
        ([], TypeError, r'must be None, "keep", or a mapping from patterns to functions or "keep", got \[\] of type'),
        ("kept", TypeError, r"got 'kept' of type str"),
        ({"mask": "kept"}, TypeError, r"got 'mask' of type str with 'kept' of type str"),
        ({"mask": 3}, TypeError, "got 'mask' of type str with 3 of type int"),
        ({3: torch.ones}, TypeError, "got 3 of type int with "),
        ({"mask": lambda m: 3}, TypeError, "the function for 'mask' must return a tensor, got 3 of type int"),
        (
            {"mask": lambda m: torch.ones(4)},
            ValueError,
            r"shape \(3,\) and dtype torch.float32 on the CPU, got shape \(4,\)",
        ),
        ({"mask": lambda m: torch.ones(3, dtype=torch.int8)}, ValueError, "got shape .* and dtype torch.int8 on cpu"),
        ({"mask": lambda m: torch.ones(3, device="meta")}, ValueError, "on meta"),
        (
            {"mask": lambda m: torch.ones(3).to_sparse()},
            ValueError,
            "'mask' must return a tensor that can be kept: it must be dense",
        ),
        ({"mask": lambda m: torch.ones(3), "x*": torch.ones}, ValueError, r"no buffer matches the patterns 'x\*'"),
    ],
)
def test_bad_functions_for_buffers(buffers: Any, error: type[Exception], message: str) -> None:
    module = on_meta(lambda: Net(mask=True))
    with pytest.raises(error, match=message):
        init_module(module, MLP, seed=0, buffers=buffers)
    assert all(t.is_meta for t in (*module.parameters(), *module.buffers()))


def test_buffers_are_selected_too() -> None:
    functions = {"mask": lambda _: torch.zeros(3), "norm.running_mean": lambda _: torch.full((8,), 3.0)}
    module: Any = on_meta(lambda: Net(mask=True))
    report = init_module(module, MLP, seed=0, include=["layers.*", "*.running_mean"], buffers=functions)
    assert report.buffers == ("norm.running_mean",)
    assert report.left[:2] == ("norm.weight", "norm.bias")
    assert set(report.left[2:]) == {"mask", "norm.running_var", "norm.num_batches_tracked"}
    assert module.mask.is_meta
    assert module.norm.running_var.is_meta
    assert module.norm.running_mean.tolist() == [3.0] * 8
    rest = init_module(module, MLP, seed=0, exclude=["layers.*", "mask"])  # nobody could compute the mask
    assert set(rest.buffers) == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert not module.norm.running_mean.any()  # which the module computes, if nobody else does
    assert rest.left[-1] == "mask"
    with pytest.raises(ValueError, match=r"these buffers: 'mask' of Net, which .* or leave them alone with exclude="):
        init_module(module, MLP, seed=0)
    # With memory it is the same.
    real: Any = Net(mask=True)
    garble(real)
    report = init_module(real, MLP, seed=0, include=["layers.*", "*.running_mean"], exclude=["mask"])
    assert report.buffers == ("norm.running_mean",)
    assert set(report.left) == {"norm.weight", "norm.bias", "norm.running_var", "norm.num_batches_tracked", "mask"}
    assert not real.norm.running_mean.any()
    assert real.norm.running_var.isnan().all()


def test_tied_buffers_are_selected_as_one() -> None:
    def build() -> Any:
        one, two = rotary(), rotary()
        two.theta = one.theta
        return nn.Sequential(one, two, nn.Linear(2, 2))

    module = on_meta(build)
    with pytest.raises(ValueError, match=r"exclude: '1\.theta' is another name of '0\.theta', which is not excluded"):
        init_module(module, NORMAL, seed=0, exclude="1.*")
    assert init_module(module, NORMAL, seed=0, exclude=["0.*", "1.*"]).left == ("0.theta", "1.theta")
    assert module[0].theta.is_meta


# --- what is an answer ----------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """A module whose reset_parameters is given."""

    table: Tensor

    def __init__(self, reset: Callable[[Any], object], dtype: Any = torch.float32) -> None:
        super().__init__()
        self.reset = reset
        self.register_buffer("table", torch.ones(3, dtype=dtype))
        self.weight = nn.Parameter(torch.full((3,), 5.0))

    def reset_parameters(self) -> None:
        self.reset(self)


def part(module: Any) -> None:
    module.table[1:] = 2.0


def times_zero(module: Any) -> None:
    module.table.mul_(0)


def draw(module: Any) -> None:
    module.table.copy_(torch.rand(3))


def of_the_weight(module: Any) -> None:
    module.table.copy_(module.weight.detach() * 2)


def cut(module: Any) -> None:
    module.table.clamp_(max=0)


FLOAT, INT, BOOL = torch.float32, torch.int64, torch.bool
RESETS = [
    *((reset, FLOAT) for reset in (part, times_zero, draw, of_the_weight, cut)),
    (part, INT),
    (cut, INT),
    (part, BOOL),
]


@pytest.mark.parametrize(("reset", "dtype"), RESETS)
@pytest.mark.parametrize("build", [lambda f: f(), on_meta], ids=["real", "meta"])
def test_what_follows_from_memory_or_chance_is_no_answer(reset: Any, dtype: Any, build: Any) -> None:
    """Two layers would get the same "random" numbers, and a table of weights those of a twin."""
    module = build(lambda: Odd(reset, dtype))
    with pytest.raises(ValueError, match=r"computes these buffers: 'table' of Odd \((what )?its reset_parameters"):
        init_module(module, NORMAL, seed=0)


def test_a_method_may_put_a_buffer_where_the_parameters_are() -> None:
    """Swin Transformers of timm do. In a twin, parameters are on meta at first."""

    def reset(module: Any) -> None:
        module.table = torch.arange(3.0, device=module.weight.device)

    module = Odd(reset)
    garble(module)
    init_module(module, NORMAL, seed=0)
    assert module.table.tolist() == [0.0, 1.0, 2.0]


def test_inside_of_a_block_that_makes_tensors_elsewhere() -> None:
    def reset(module: Any) -> None:
        module.table = torch.arange(3.0)

    module = Odd(reset)
    with torch.device("meta"):
        init_module(garble(module), NORMAL, seed=0)
    assert module.table.tolist() == [0.0, 1.0, 2.0]


def test_an_attribute_that_cannot_be_copied_is_no_obstacle() -> None:
    """As the process group of a SyncBatchNorm."""

    def reset(module: Any) -> None:
        module.table.fill_(module.constant[0])

    module: Any = Odd(reset)
    module.lock = (i for i in range(3))
    module.constant = torch.full((2,), 4.0, requires_grad=True) * 1  # with a history, as an old weight norm's
    garble(module)
    init_module(module, NORMAL, seed=0)
    assert module.table.tolist() == [4.0] * 3


def test_a_method_of_transformers_name_that_takes_no_module() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def _init_weights(self) -> None:
            raise AssertionError

    model = garble(Own())
    init_module(model, NORMAL, seed=0)
    assert equal(buffers_of(model), buffers_of(Own()))


def test_the_model_that_initialises_its_modules_is_not_written_to() -> None:
    """transformers' xLSTM fills its own embeddings in its ``_init_weights``, whatever module it is asked about."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = nn.Embedding(2, 2)
            self.seen: list[str] = []
            self.inner = nn.Module()
            self.inner.register_buffer("table", torch.zeros(2))
            self.again = self.inner

        def _init_weights(self, module: Any) -> None:
            nn.init.ones_(self.embeddings.weight)
            if module in list(self.children()):  # the module itself, not a copy of it
                nn.init.constant_(module.table, 3.0)

    module: Any = Model()
    garble(module)
    with torch.no_grad():
        module.embeddings.weight.fill_(9.0)
    init_module(module, NORMAL, seed=0, include=["inner.*", "again.*"])
    assert module.again is module.inner
    assert module.inner.table.tolist() == [3.0, 3.0]
    assert (module.embeddings.weight == 9).all()


def test_of_two_models_the_inner_one_initialises_what_it_holds() -> None:
    """As in transformers, where each has a configuration of its own."""

    class Model(nn.Module):
        def __init__(self, value: float, inner: nn.Module) -> None:
            super().__init__()
            self.value, self.inner = value, inner

        def _init_weights(self, module: Any) -> None:
            if "table" in dict(module.named_buffers(recurse=False)):
                nn.init.constant_(module.table, self.value)

    holder: Any = nn.Module()
    holder.register_buffer("table", torch.zeros(2))
    module = Model(1.0, nn.Sequential(Model(2.0, holder)))
    init_module(garble(module), {}, seed=0)
    assert holder.table.tolist() == [2.0, 2.0]


def test_of_several_errors_the_user_sees_the_one_that_says_most() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.register_buffer("table", torch.ones(2))

        def reset_buffers(self) -> None:
            nn.init.constant_(
                self.get_buffer("table"), self.weight.sum().item()
            )  # impossible on meta; then a thing that follows from weights

        def reset_parameters(self) -> None:
            raise KeyError("what is wrong")

    with pytest.raises(
        ValueError, match=r"'0\.table' of Several \(its reset_parameters raised KeyError: 'what is"
    ) as e:
        init_module(nn.Sequential(Several()), NORMAL, seed=0)
    assert isinstance(e.value.__cause__, KeyError)


def test_modules_of_fully_shard_are_asked_too() -> None:
    """Their class refuses to be copied."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    with rank_of(0, 2):
        module: Any = on_meta(lambda: Odd(lambda self: self.table.fill_(6.0)))
        fully_shard(module, mesh=init_device_mesh("cpu", (2,)))
        garble(module.to_empty(device="cpu"))
        init_module(module, NORMAL, seed=0)
        assert module.table.tolist() == [6.0] * 3


@pytest.mark.parametrize("build", [lambda f: f(), on_meta], ids=["real", "meta"])
def test_buffers_that_are_dtensors_are_written_piece_by_piece(build: Any) -> None:
    """``distribute_module`` replicates buffers."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    def reset(module: Any) -> None:
        module.table.copy_(torch.arange(3.0))

    with rank_of(1, 2):
        mesh = init_device_mesh("cpu", (2,))
        for placement, wanted in ((Replicate(), [0.0, 1.0, 2.0]), (Shard(0), [2.0])):
            module: Any = build(lambda: Odd(reset))
            module.table = distribute_tensor(module.table, mesh, [placement], src_data_rank=None)
            old, version = module.table, module.table._version
            report = init_module(module, NORMAL, seed=0)
            assert report.buffers == ("table",)
            assert module.table.to_local().tolist() == wanted
            assert module.table.placements == (placement,)
            assert build is on_meta or (module.table is old and old._version > version)


# --- memory that cannot be written ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "make", "words"),
    [
        ("cuda", fake_cuda, "must be a plain tensor with memory of its own, got FakeTensor"),
        ("sparse", lambda: torch.ones(3).to_sparse(), r"must be dense \(torch\.strided\)"),
        ("expanded", expanded, "must have memory for each of its elements, got some that share it"),
    ],
    ids=["cuda", "sparse", "expanded"],
)
def test_memory_that_cannot_be_written_is_refused(what: str, make: Any, words: str) -> None:
    module: Any = nn.Linear(2, 2)
    module.register_buffer("table", make())
    function = {"table": lambda owner: torch.ones(3)}
    with pytest.raises(
        ValueError, match=rf"^buffer 'table' of Linear {words}.*exclude='table', or with .*\"keep\"}} if"
    ):
        init_module(module, NORMAL, seed=0, buffers=function)
    for arguments in ({"exclude": "table"}, {"buffers": "keep"}, {"buffers": {"table": "keep"}}):
        init_module(module, NORMAL, seed=0, **arguments)


def test_a_buffer_of_another_kind_of_placement_is_named() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Partial

    with rank_of(0, 2):
        module = Odd(part)
        module.table = DTensor.from_local(torch.ones(3), init_device_mesh("cpu", (2,)), [Partial()])
        with pytest.raises(ValueError, match=r"buffer 'table' of Odd cannot be written: .*Partial"):
            init_module(module, NORMAL, seed=0)


@pytest.mark.parametrize("build", [lambda f: f(), on_meta], ids=["real", "meta"])
def test_memory_that_a_buffer_shares_is_refused(build: Any) -> None:
    def make(tensor: str) -> Any:
        module: Any = nn.BatchNorm1d(4)
        other = module.weight if tensor == "weight" else module.weight.data[1:] if tensor == "part" else None
        module.register_buffer("table", module.running_var[:] if other is None else other)
        return module

    for which, words, names in (
        ("weight", "parameter 'weight' and buffer 'table'", ["weight", "table"]),
        ("part", "parameter 'weight' and buffer 'table'", ["weight", "table"]),
        ("buffer", "buffers 'running_var' and 'table'", ["running_var", "table"]),
    ):
        module = build(lambda which=which: make(which))
        before = {name: tensor._version for name, tensor in module.state_dict(keep_vars=True).items()}
        arguments: dict[str, Any] = {"buffers": {"table": lambda owner: torch.zeros(3)}}
        for exclude in (None, names[0], names[1]):
            with pytest.raises(ValueError, match=f"^{words} share memory, .*exclude=.* leaves both alone"):
                init_module(module, NORMAL, seed=0, exclude=exclude, **arguments)
        assert before == {name: tensor._version for name, tensor in module.state_dict(keep_vars=True).items()}
        assert set(names) <= set(init_module(module, NORMAL, seed=0, exclude=names).left)


# --- weights that are computed --------------------------------------------------------------------------------------


def parametrized(how: str) -> Any:
    from torch.nn.utils import parametrizations, prune

    layer = nn.Linear(4, 4)
    if how == "old spectral_norm":
        return nn.utils.spectral_norm(layer)
    if how == "old weight_norm":
        with pytest.warns(FutureWarning):
            return nn.utils.weight_norm(layer)
    if how == "prune":
        untyped: Any = prune
        return untyped.random_unstructured(untyped.l1_unstructured(layer, "weight", 0.5), "weight", 0.2)
    return getattr(parametrizations, how)(layer)


COMPUTED = {
    "weight_norm": ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    "spectral_norm": (
        "parametrizations.weight.original",
        "parametrizations.weight.0._u",
        "parametrizations.weight.0._v",
    ),
    "orthogonal": ("parametrizations.weight.original", "parametrizations.weight.0.base"),
    "old weight_norm": ("weight_g", "weight_v"),
    "old spectral_norm": ("weight_orig", "weight_u", "weight_v"),
    "prune": ("weight_orig", "weight_mask"),
}


@pytest.mark.parametrize("how", list(COMPUTED))
def test_what_a_weight_is_computed_from_is_refused(how: str) -> None:
    """A value there is not the weight's: of a weight norm its standard deviation was 0.0027 instead of 0.02."""
    module: Any = nn.Sequential(nn.Linear(4, 4), parametrized(how))
    inputs = ["1." + name for name in COMPUTED[how]]
    assert set(inputs) <= module.state_dict().keys()
    by = r"torch\.nn\.utils\." + ("parametrize" if "parametrizations" in inputs[0] else how.removeprefix("old "))
    words = rf"^from the tensors '{re.escape(inputs[0])}'.* the module computes its weights, by {by}: .*exclude="
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    sources: list[tuple[Any, Any]] = [
        (init_module, module),
        (fastinit.torch.FastInitReader, module),
        (fastinit.torch.FastInitReader, module.state_dict()),
    ]
    for call, source in sources:
        with pytest.raises(ValueError, match=words):
            call(source, NORMAL, seed=0)
        for name in inputs:  # each of them, if it is selected
            if isinstance(source, nn.Module) or source[name].is_floating_point():
                with pytest.raises(ValueError, match=f"from the tensors '{re.escape(name)}'"):
                    call(source, NORMAL, seed=0, include=["0.*", name])
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    report = init_module(module, NORMAL, seed=0, exclude=inputs)
    assert [row.name for row in report.rows] == ["0.weight", "0.bias", "1.bias"]
    parameters = {name for name, _ in module.named_parameters()}
    kept = init_module(module, NORMAL, seed=0, exclude=sorted(parameters.intersection(inputs)), buffers="keep").kept
    assert kept == tuple(name for name, _ in module.named_buffers())
    # First filled, then parametrized: that is the way.
    assert not init_module(nn.Linear(4, 4), NORMAL, seed=0).left


def test_a_parameter_that_is_tied_to_such_a_one_is_refused_too() -> None:
    from torch.nn.utils import parametrizations

    module: Any = nn.Sequential(nn.Linear(4, 4, bias=False), parametrizations.orthogonal(nn.Linear(4, 4)))
    module[0].weight = module[1].parametrizations.weight.original
    with pytest.raises(ValueError, match=r"from the tensors '0\.weight'"):
        init_module(module, NORMAL, seed=0, exclude="1.bias", buffers="keep")
    # Another parameter, in the same memory.
    module[0].weight = nn.Parameter(module[1].parametrizations.weight.original.detach())
    with pytest.raises(ValueError, match=r"from the tensors '1\.parametrizations\.weight\.original'"):
        init_module(module, NORMAL, seed=0, exclude="1.bias", buffers="keep")


def test_a_parametrizations_own_parameters_are_filled() -> None:
    """As of a low-rank update, which may be filled where what it updates is left alone."""
    from torch.nn.utils import parametrize

    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Parameter(torch.zeros(2, 4))
            self.up = nn.Parameter(torch.zeros(4, 2))

        def forward(self, weight: Tensor) -> Tensor:
            return weight + self.up @ self.down

    module = nn.Linear(4, 4)
    parametrize.register_parametrization(module, "weight", LowRank())
    report = init_module(module, NORMAL, seed=0, exclude="*.original")
    assert [row.name for row in report.rows][1:] == ["parametrizations.weight.0.down", "parametrizations.weight.0.up"]


def test_names_that_look_like_inputs_of_a_weight_are_no_such_ones() -> None:
    state = {name: torch.zeros(2) for name in ("gate_g", "gate_v", "weight_g", "x_orig", "weight_u")}
    fastinit.torch.FastInitReader(state, NORMAL, seed=0)


# --- parameters of ZeRO-3 -------------------------------------------------------------------------------------------


def test_parameters_that_are_elsewhere_are_refused() -> None:
    """DeepSpeed's ZeRO-3 leaves tensors of shape (0,), with ``ds_id`` and ``ds_shape`` (seen with 0.19.8)."""
    layer: Any = nn.Linear(4, 4)
    layer.weight.data = torch.empty(0)
    words = r"'weight' must have elements, got shape \(0,\), .*GatheredParameters.*modifier_rank=0.*exclude='weight'"
    read: Any = fastinit.torch.FastInitReader
    for call, source in ((init_module, layer), (read, layer), (read, layer.state_dict())):
        with pytest.raises(ValueError, match=words):
            call(source, NORMAL, seed=0)
    init_module(layer, NORMAL, seed=0, exclude="weight")
    init = fastinit.torch.init
    assert init.normal_(layer.weight, seed=0) is layer.weight  # an empty tensor as any other
    weight: Any = layer.weight
    bias: Any = layer.bias
    weight.ds_id = 3
    with pytest.raises(ValueError, match=r"^tensor must have elements, .*ZeRO-3 has partitioned: .*GatheredParameters"):
        init.normal_(layer.weight, seed=0)
    assert bias.numel() == 4
    bias.ds_id = 4
    init.normal_(layer.bias, seed=0)  # as inside of GatheredParameters


# --- published models -----------------------------------------------------------------------------------------------


def transformer(name: str, **options: Any) -> Any:
    t = library("transformers")
    config = getattr(t, name + "Config")()
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    for key, value in {"vocab_size": 64, "num_key_value_heads": 4, **small, **options}.items():
        if hasattr(config, key):
            setattr(config, key, value)
    return getattr(t, name + "Model")(config)


def timm_model(name: str, **options: Any) -> Any:
    return library("timm").create_model(name, pretrained=False, **options)


def swin(block: str) -> Any:
    t = library("torchvision.models.swin_transformer")
    kind = getattr(t, block)
    more = {"downsample_layer": t.PatchMergingV2} if block.endswith("V2") else {}
    return t.SwinTransformer([4, 4], 24, [2, 2], [2, 2], [4, 4], block=kind, **more)


WINDOWS: dict[str, Any] = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2)}
GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "rotary_dim": 8, "n_positions": 32, "dff": 16}
# Each with what nobody computes.
MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "Llama": (lambda: transformer("Llama"), ""),
    "Gemma3": (lambda: transformer("Gemma3Text", head_dim=8, layer_types=["sliding_attention", "full_attention"]), ""),
    "Bert": (lambda: transformer("Bert"), ""),
    "GPTNeoX": (lambda: transformer("GPTNeoX"), ""),
    "CodeGen": (lambda: transformer("CodeGen", **GPT), ""),
    "CTRL": (lambda: transformer("CTRL", **GPT), ""),
    "BigBird": (lambda: transformer("BigBird"), ""),
    "FNet": (lambda: transformer("FNet"), ""),
    "Apertus": (lambda: transformer("Apertus"), r"layers\.\d\.mlp\.act_fn\.(beta|eps)"),
    "timm swin": (lambda: timm_model("swin_tiny_patch4_window7_224", **WINDOWS), ""),
    "timm swinv2": (lambda: timm_model("swinv2_tiny_window8_256", **WINDOWS), ""),
    "timm beit": (lambda: timm_model("beit_base_patch16_224", embed_dim=48, depth=2, num_heads=3), ""),
    "timm eva": (lambda: timm_model("eva02_tiny_patch14_224", embed_dim=48, depth=2, num_heads=3), ""),
    "timm convit": (lambda: timm_model("convit_tiny", embed_dim=16, depth=2, local_up_to_layer=1), ""),
    "timm resnet": (lambda: timm_model("resnetblur18", layers=(1, 1, 1, 1)), ""),
    "swin": (lambda: swin("SwinTransformerBlock"), ""),
    "swin v2": (lambda: swin("SwinTransformerBlockV2"), ""),
    "maxvit": (
        lambda: library("torchvision.models.maxvit").RelativePositionalMultiHeadAttention(16, 8, 4),
        "relative_position_index",
    ),
    "frozen norms": (
        lambda: nn.Sequential(nn.Linear(2, 2), library("torchvision.ops").FrozenBatchNorm2d(4)),
        r"1\.(weight|bias|running_mean|running_var)",
    ),
}


@pytest.mark.parametrize("how", ["real", "to_empty", "meta"])
@pytest.mark.parametrize("model", list(MODELS))
def test_buffers_of_published_models_are_right_or_refused(model: str, how: str) -> None:
    build, unknown = MODELS[model]
    wanted = buffers_of(build())
    module = build() if how == "real" else on_meta(build)
    if how == "to_empty":
        module.to_empty(device="cpu")
    garble(module)
    hopeless = [name for name in wanted if re.fullmatch(unknown, name)]
    if hopeless:
        with pytest.raises(ValueError, match="no method of their modules computes these buffers: ") as caught:
            init_module(module, NORMAL, seed=0)
        assert [name for name in wanted if f"'{name}' of" in str(caught.value)] == hopeless
    report = init_module(module, NORMAL, seed=0, exclude=hopeless)
    assert set(report.buffers) == wanted.keys() - hopeless
    assert report.buffers or hopeless
    found = buffers_of(module)
    assert all(torch.equal(found[name], wanted[name]) for name in report.buffers)


def test_models_with_weight_norms_are_refused_by_name() -> None:
    t = library("transformers")
    options = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = t.Wav2Vec2Config(**options, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
    speech = t.Wav2Vec2Model(config)
    with pytest.raises(
        ValueError, match=r"pos_conv_embed\.conv\.parametrizations\.weight\.original0', .*by torch\.nn\.u"
    ):
        init_module(speech, NORMAL, seed=0)
    report = init_module(speech, NORMAL, seed=0, exclude="*.parametrizations.*")
    assert len(report.left) == 2
    vocoder = t.SpeechT5HifiGan(t.SpeechT5HifiGanConfig(upsample_initial_channel=64))
    assert init_module(vocoder, NORMAL, seed=0).rows
    vocoder.apply_weight_norm()
    with pytest.raises(
        ValueError, match=r"'conv_pre\.parametrizations\.weight\.original0', .* and \d+ more the module"
    ):
        init_module(vocoder, NORMAL, seed=0)
