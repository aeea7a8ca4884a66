"""Promise: on any mesh the same bits. Each process fills its own pieces, and nothing else, without asking another.

What a piece should hold is never computed here: torch cuts a tensor that counts its elements, or gathers the pieces.
Large meshes are torch's fake process groups, one rank of which lives in this process. Real ones are spawned, with many
checks in each spawn, since a process needs seconds to import torch.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import functools
import io
import math
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402
from torch.distributed import checkpoint  # noqa: E402
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor  # noqa: E402
from torch.distributed.tensor._dtensor_spec import DTensorSpec, ShardOrderEntry, TensorMeta  # noqa: E402
from torch.distributed.tensor.debug import CommDebugMode, _clear_sharding_prop_cache  # noqa: E402
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module  # noqa: E402
from torch.distributed.tensor.placement_types import _StridedShard  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402

import fastinit  # noqa: E402
from fastinit.recipes import Initializer  # noqa: E402
from fastinit.torch import FastInitReader, init_module  # noqa: E402
from fastinit.torch._sharding import boxes  # noqa: E402

dcp: Any = checkpoint  # not all of which is declared
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


# --- where the pieces are -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def fake(rank: int, size: int) -> Iterator[None]:
    """This process is one of many, which do not exist."""
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()
        _clear_sharding_prop_cache()  # type: ignore[no-untyped-call]  # it knows the mesh of the last rank


def counting(*shape: int) -> Any:
    return torch.arange(float(math.prod(shape))).view(shape)


def dtensor(local: Any, spec: Any) -> Any:
    return DTensor(local, spec, requires_grad=False)  # type: ignore[no-untyped-call]


def held(tensor: Any, whole: Any) -> int:
    """How many boxes a DTensor has, whose values say where they are in ``whole``."""
    shape, pieces = boxes(tensor)
    assert shape == tuple(whole.shape)
    assert sum(view.numel() for view, _ in pieces) == tensor.to_local().numel()
    for view, offset in pieces:
        box = tuple(slice(first, first + n) for first, n in zip(offset, view.shape, strict=True))
        assert torch.equal(view, whole[box]), (tensor.placements, offset)
        assert view.untyped_storage().data_ptr() == tensor.to_local().untyped_storage().data_ptr()
    return len(pieces)


@pytest.mark.parametrize("rank", [0, 1, 7, 21, 40, 62, 63])
def test_a_piece_of_a_mesh_of_64(rank: int) -> None:
    choose = random.Random(rank)
    several = empty = 0
    with fake(rank, 64):
        for mesh_shape in ((64,), (8, 8), (2, 32), (4, 4, 4)):
            for _ in range(30):
                mesh = init_device_mesh("cpu", mesh_shape)
                shape = [choose.choice([0, 1, 3, 7, 16, 65, 130]) for _ in range(choose.choice([1, 2, 3]))]
                placements: list[Any] = [
                    choose.choice([Replicate(), Shard(choose.randrange(len(shape)))]) for _ in mesh_shape
                ]
                if choose.random() < 0.2:
                    strided = _StridedShard(choose.randrange(len(shape)), split_factor=choose.choice([2, 3, 5]))
                    mesh, placements = init_device_mesh("cpu", (64,)), [strided]
                whole = counting(*shape)
                n = held(distribute_tensor(whole, mesh, placements, src_data_rank=None), whole)
                several += n > 1
                empty += n == 0
    assert several or empty


@pytest.mark.parametrize("rank", [0, 1, 23, 46, 60, 63])
@pytest.mark.parametrize("mesh_shape", [(16, 4), (8, 8), (2, 32)])
def test_a_piece_of_fsdp_over_tensor_parallelism(rank: int, mesh_shape: tuple[int, int]) -> None:
    with fake(rank, 64):
        mesh = init_device_mesh("cpu", mesh_shape, mesh_dim_names=("dp", "tp"))
        for n in (3, 7, 64, 65, 100, 129, 200):
            for style in (ColwiseParallel, RowwiseParallel):
                layer = nn.Linear(n, n + 4)
                whole = {name: counting(*parameter.shape) for name, parameter in layer.named_parameters()}
                layer.load_state_dict(whole)
                parallelize_module(layer, mesh["tp"], style(), src_data_rank=None)
                fully_shard(layer, mesh=mesh["dp"])
                for name, parameter in layer.named_parameters():
                    held(parameter, whole[name])


def test_strided_pieces_are_several_boxes() -> None:
    with fake(1, 4):
        mesh = init_device_mesh("cpu", (4,))
        whole = counting(16, 3)
        tensor = distribute_tensor(whole, mesh, [_StridedShard(0, split_factor=2)], src_data_rank=None)
        assert [(tuple(view.shape), offset) for view, offset in boxes(tensor)[1]] == [
            ((2, 3), (2, 0)),
            ((2, 3), (10, 0)),
        ]
        alone = distribute_tensor(whole, DeviceMesh("cpu", [1]), [_StridedShard(0, split_factor=5)], src_data_rank=None)
        assert held(alone, whole) == 1  # ranges that follow each other
        plane = init_device_mesh("cpu", (2, 2))
        both = [_StridedShard(0, split_factor=3), _StridedShard(1, split_factor=2)]
        assert held(distribute_tensor(counting(13, 9), plane, both, src_data_rank=None), counting(13, 9)) == 6


@pytest.mark.parametrize("rank", range(6))
def test_pieces_cut_in_another_order(rank: int) -> None:
    """A DTensor may store the order in which mesh dimensions cut a tensor dimension."""
    with fake(rank, 6):
        mesh = init_device_mesh("cpu", (2, 3))
        row, column = divmod(rank, 3)
        whole = counting(11, 2)
        local = whole.chunk(3)[column].chunk(2)[row]
        meta = TensorMeta(whole.shape, whole.stride(), whole.dtype)
        order = (ShardOrderEntry(0, (1, 0)),)
        spec = DTensorSpec(mesh, (Shard(0), Shard(0)), meta, shard_order=order)
        assert held(dtensor(local, spec), whole) == 1
        # Strided placements that are to be read as such, from left to right.
        strided = _StridedShard(0, split_factor=3)
        literal = DTensorSpec(mesh, (strided, Shard(0)), meta, use_strided_shard_as_shard_order=False)
        cut = distribute_tensor(whole, mesh, [strided, Shard(0)], src_data_rank=None).to_local()
        held(dtensor(cut, literal), whole)


@pytest.mark.parametrize(
    "placements", [(Shard(0), Shard(0)), (Shard(1), Shard(0)), (_StridedShard(0, split_factor=4), Shard(0))]
)
def test_all_pieces_are_the_whole(placements: Any) -> None:
    # distribute_tensor itself cuts uneven strided pieces otherwise than full_tensor joins them.
    even = isinstance(placements[0], _StridedShard)
    for shape in ((8, 4), (16, 3)) if even else ((8, 4), (7, 9), (3, 5)):
        count = collections.Counter[tuple[int, ...]]()
        for rank in range(8):
            with fake(rank, 8):
                mesh = init_device_mesh("cpu", (2, 4))
                tensor = distribute_tensor(counting(*shape), mesh, placements, src_data_rank=None)
                for view, offset in boxes(tensor)[1]:
                    count.update(tuple(np.add(index, offset)) for index in np.ndindex(*view.shape))
        assert set(count.values()) == {1}
        assert len(count) == math.prod(shape)


def test_a_plain_tensor_is_one_box() -> None:
    for shape in ((), (3,), (0, 2), (2, 3, 4)):
        tensor = torch.zeros(shape)
        (global_shape, [(view, offset)]) = boxes(tensor)
        assert (global_shape, offset) == (shape, (0,) * len(shape))
        assert view is tensor


def test_a_process_outside_of_the_mesh_holds_nothing() -> None:
    with fake(3, 4):
        mesh = DeviceMesh("cpu", [0, 1])
        tensor = distribute_tensor(counting(4, 2), mesh, [Shard(0)], src_data_rank=None)
        assert boxes(tensor) == ((4, 2), [])


def test_what_is_no_box_is_refused() -> None:
    class Odd(Shard):
        pass

    with fake(0, 2):
        mesh = init_device_mesh("cpu", (2,))
        for placement in (Partial(), Odd(0)):
            tensor = DTensor.from_local(torch.zeros(2, 3), mesh, [placement], shape=torch.Size((4, 3)), stride=(3, 1))
            with pytest.raises(
                ValueError, match=r"placements must be Replicate, Shard or _StridedShard, got \(.*\(.*\)"
            ):
                boxes(tensor)
            parameter = nn.Parameter(tensor)
            # torch 2.14 makes a subclass of Shard plain here.
            if isinstance(parameter, DTensor) and type(parameter.placements[0]) is Shard:
                continue
            with pytest.raises(ValueError, match=r"parameter 'w'.*placements must be"):
                init_module(nn.ParameterDict({"w": parameter}), {"w": Initializer("zeros")}, seed=0)
        lies = DTensor.from_local(torch.zeros(3, 3), mesh, [Shard(0)], shape=torch.Size((4, 3)), stride=(3, 1))
        with pytest.raises(ValueError, match=r"has shape \(2, 3\) at \(0,\), but its local tensor has shape \(3, 3\)"):
            boxes(lies)
    with fake(1, 2):
        mesh = init_device_mesh("cpu", (2,))
        lies = DTensor.from_local(torch.zeros(3, 3), mesh, [Shard(0)], shape=torch.Size((1, 3)), stride=(3, 1))
        with pytest.raises(ValueError, match=r"has shape \(0, 3\) at \(1,\), but its local tensor has shape \(3, 3\)"):
            boxes(lies)


def test_importing_fastinit_torch_imports_nothing_of_torch_distributed() -> None:
    code = (
        "import torch, sys; before = set(sys.modules); import fastinit.torch\n"
        "new = {name for name in set(sys.modules) - before if name.startswith('torch.distributed')}\n"
        "assert not new, new\n"
        "fastinit.torch.init_module(torch.nn.Linear(2, 2), {'*': fastinit.recipes.Initializer('ones')}, seed=0)\n"
        "assert 'torch.distributed.tensor' not in sys.modules\n"
        "fastinit.torch.FastInitReader\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastinit.torch.nothing  # noqa: B018


# --- the checkpoint that is no file ---------------------------------------------------------------------------------

RECIPE = {"*weight": Initializer("he_normal", layout="torch"), "*": Initializer("normal", {"std": 0.5})}


def load(state: dict[str, Any], reader: FastInitReader, **arguments: Any) -> None:
    """dcp.load without other processes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.load(state, storage_reader=reader, no_dist=True, **arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rng", ["ars", "philox"])
def test_a_loaded_state_is_that_of_init_module(dtype: Any, rng: Any) -> None:
    def model() -> Any:
        return nn.Sequential(nn.Linear(5, 7), nn.Conv1d(3, 2, 3), nn.Linear(7, 1)).to(dtype)

    expected, loaded = model(), model()
    init_module(expected, RECIPE, seed=9, bit_generator=rng)
    version = loaded[0].weight._version
    with torch.device("meta"):
        reader = FastInitReader(model(), RECIPE, seed=9, bit_generator=rng, threads=1)
    for state in (loaded.state_dict(), {"model": loaded.state_dict()}):
        for parameter in loaded.parameters():
            parameter.detach().fill_(7)
        if "model" in state:
            reader = FastInitReader(loaded.state_dict(), RECIPE, seed=9, bit_generator=rng, checkpoint_prefix="model.")
        load(state, reader)
        for (name, one), other in zip(loaded.named_parameters(), expected.parameters(), strict=True):
            assert torch.equal(one, other), name
    assert loaded[0].weight._version > version


def test_pieces_that_torch_plans_wrongly_are_filled_all_the_same() -> None:
    """Of FSDP over tensor parallelism, and of strided placements. With other planners they would be wrong."""
    expected = nn.Linear(3, 7)
    init_module(expected, RECIPE, seed=4)
    wrong = 0
    for rank in range(6):
        with fake(rank, 6):
            mesh = init_device_mesh("cpu", (3, 2), mesh_dim_names=("dp", "tp"))
            layer: Any = nn.Linear(3, 7)
            places: Any = nn.Linear(3, 7)
            places.load_state_dict({name: counting(*p.shape) for name, p in layer.named_parameters()})
            for module in (layer, places):
                parallelize_module(module, mesh["tp"], ColwiseParallel(), src_data_rank=None)
                fully_shard(module, mesh=mesh["dp"])
            line = init_device_mesh("cpu", (6,))
            strided = [_StridedShard(0, split_factor=2)]
            state = layer.state_dict()
            state["other"] = distribute_tensor(torch.zeros(13, 2), line, strided, src_data_rank=None)
            for tensor in state.values():
                planned = [(c.offsets, c.sizes) for c in tensor.__create_chunk_list__() if 0 not in c.sizes]
                wrong += planned != [(offset, view.shape) for view, offset in boxes(tensor)[1]]
            load(state, FastInitReader(state, RECIPE, seed=4))
            for name, parameter in places.named_parameters():
                where = parameter.to_local().long().flatten()
                assert torch.equal(state[name].to_local().flatten(), expected.state_dict()[name].flatten()[where])
            place = distribute_tensor(counting(13, 2), line, strided, src_data_rank=None).to_local().long().flatten()
            other = torch.from_numpy(fastinit.normal(np.empty((13, 2), np.float32), std=0.5, seed=4, stream="other"))
            assert torch.equal(state["other"].to_local().flatten(), other.flatten()[place])
    assert wrong == 4 + 4


def test_what_the_recipe_does_not_make_is_left() -> None:
    norm: Any = nn.BatchNorm1d(4)
    with torch.no_grad():
        norm.running_mean.fill_(3)
        norm.num_batches_tracked.fill_(5)
    state = norm.state_dict()
    recipe = {"weight": Initializer("normal"), "bias": Initializer("zeros")}
    load(state, FastInitReader(norm, recipe, seed=0, buffers="keep"))
    assert norm.running_mean.eq(3).all()
    assert norm.num_batches_tracked == 5
    assert not norm.weight.eq(1).any()

    mixed: dict[str, Any] = {"w": torch.zeros(3), "step": 17, "ids": torch.arange(3), "blob": io.BytesIO(b"abc")}
    load(mixed, FastInitReader(mixed, {"w": Initializer("ones")}, seed=0))
    assert mixed["w"].eq(1).all()
    assert mixed["step"] == 17
    assert mixed["ids"].tolist() == [0, 1, 2]
    assert mixed["blob"].getvalue() == b"abc"


def test_tied_parameters_are_one() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(6, 4)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.embed.weight

    expected, of_module, of_state = Tied(), Tied(), Tied()
    recipe = {"embed.weight": Initializer("normal")}
    init_module(expected, recipe, seed=1)
    load(of_module.state_dict(), FastInitReader(of_module, recipe, seed=1))
    load(of_state.state_dict(), FastInitReader(of_state.state_dict(), recipe, seed=1))
    assert torch.equal(of_module.head.weight, expected.head.weight)
    assert torch.equal(of_state.head.weight, expected.head.weight)


def body_and_head() -> Any:
    return nn.ModuleDict({"body": nn.Linear(3, 3), "head": nn.Linear(3, 2)})


def test_a_part_of_a_model() -> None:
    """Under include=, or by prefix= without the rest, the head gets what init_module gives it."""
    expected, part, alone = body_and_head(), body_and_head(), body_and_head()
    init_module(expected, RECIPE, seed=6)
    head = {"head.*weight": Initializer("he_normal", layout="torch"), "head.*": Initializer("normal", {"std": 0.5})}
    before = part["body"].weight.clone()
    for reader in (
        FastInitReader(part, RECIPE, seed=6, include="head.*"),
        FastInitReader(part, head, seed=6, exclude="body.*"),
        FastInitReader(part.state_dict(), head, seed=6, include=["head.*"]),
    ):
        with torch.no_grad():
            part["head"].weight.fill_(7)
        load(part.state_dict(), reader)
        assert torch.equal(part["body"].weight, before)
        assert torch.equal(part["head"].weight, expected["head"].weight)
        assert torch.equal(part["head"].bias, expected["head"].bias)
    reader = FastInitReader(alone["head"], head, seed=6, prefix="head.", checkpoint_prefix="model.")
    load({"model": alone["head"].state_dict()}, reader)
    assert torch.equal(alone["head"].weight, expected["head"].weight)


def test_what_is_not_selected_has_to_have_values() -> None:
    """Or dcp.load would give it memory of arbitrary content: so it is no part of the checkpoint."""
    with torch.device("meta"):
        meta = body_and_head()
    reader = FastInitReader(meta, RECIPE, seed=6, include="head.*")
    with pytest.raises(dcp.CheckpointException, match=r"Missing key in checkpoint state_dict: body\."):
        load(body_and_head().state_dict(), reader)
    expected = body_and_head()
    init_module(expected, RECIPE, seed=6)
    state = {f"head.{name}": tensor for name, tensor in body_and_head()["head"].state_dict().items()}
    load(state, reader)
    assert torch.equal(state["head.weight"], expected["head"].weight)


def test_what_is_excluded_may_be_anything_in_a_reader() -> None:
    module = nn.Module()
    module.good = nn.Linear(3, 3)
    module.codes = nn.Parameter(torch.tensor([1, 2], dtype=torch.int8), requires_grad=False)
    module.norm = nn.BatchNorm1d(2, device="meta")
    recipe = {"good.*": Initializer("ones")}
    state = module.state_dict()
    load(
        {name: tensor for name, tensor in state.items() if not tensor.is_meta},
        FastInitReader(module, recipe, seed=0, include="good.*"),
    )
    assert (module.good.weight == 1).all()
    assert module.codes.tolist() == [1, 2]
    load(
        {name: tensor for name, tensor in state.items() if not tensor.is_meta},
        FastInitReader(module, recipe, seed=0, exclude=["codes", "norm.*"]),
    )
    with pytest.raises(ValueError, match=r"'codes' must have dtype .*int8; exclude='codes' leaves it alone"):
        FastInitReader(module, {"*": Initializer("ones")}, seed=0, exclude="norm.*")
    with pytest.raises(ValueError, match=r"norm\.running_mean: .* exclude='norm\.running_mean' and load without it"):
        FastInitReader(module, recipe, seed=0, include=["good.*", "norm.*mean"], buffers="keep")
    # A sparse tensor and a lazy parameter cannot be filled, nor stop what can.
    odd: dict[str, Any] = {
        "w": torch.zeros(2),
        "sparse": torch.ones(2, 2).to_sparse(),
        "lazy": nn.UninitializedBuffer(),
    }
    reader = FastInitReader(odd, recipe={"w": Initializer("ones")}, seed=0, exclude=["sparse", "lazy"])
    loaded = {"w": torch.zeros(2)}
    load(loaded, reader)
    assert loaded["w"].tolist() == [1.0, 1.0]


def test_tied_names_are_selected_as_one_in_a_reader() -> None:
    module = nn.Module()
    module.embed, module.head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
    module.head.weight = module.embed.weight
    for source in (module, module.state_dict()):
        with pytest.raises(ValueError, match=r"include: 'head\.weight' is another name of 'embed\.weight'"):
            FastInitReader(source, RECIPE, seed=0, include="head.*")
        with pytest.raises(ValueError, match=r"exclude: 'head\.weight' is another name of 'embed\.weight'"):
            FastInitReader(source, RECIPE, seed=0, exclude="head.*")


class Own(nn.Module):
    """A module whose state dict is its own affair: other names, copies, a part."""

    def __init__(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.change = change

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Changed."""
        return self.change(super().state_dict(*args, **kwargs))


OTHER_STATES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "names": lambda state: {name.replace("other", "another"): tensor for name, tensor in state.items()},
    "copies": lambda state: {n: tensor.clone() if n.startswith("other") else tensor for n, tensor in state.items()},
    "a part": lambda state: {name: tensor for name, tensor in state.items() if not name.startswith("other")},
    "exchanged": lambda state: state | {"other.weight": state["one.weight"], "one.weight": state["other.weight"]},
}


@pytest.mark.parametrize("how", OTHER_STATES)
def test_a_parameter_that_the_state_dict_does_not_have_as_such_is_refused(how: str) -> None:
    """It would be passed over, or get other values than by init_module."""
    module = Own(OTHER_STATES[how])
    with pytest.raises(ValueError, match=r"calls .*'other\.weight'.* in its state_dict\(\) is not .* exclude= them"):
        FastInitReader(module, {"*": Initializer("normal")}, seed=3)
    if how == "names":
        with pytest.raises(ValueError, match=r"calls 'another\.weight', 'another\.bias' in"):
            FastInitReader(module, {"*": Initializer("normal")}, seed=3, exclude="other.*")
    if how != "exchanged":
        exclude = ["other.*", "another.*"] if how == "names" else "other.*"
        load(module.state_dict(), FastInitReader(module, {"*": Initializer("normal")}, seed=3, exclude=exclude))
        expected = nn.ModuleDict({"one": nn.Linear(3, 3)})
        init_module(expected, {"*": Initializer("normal")}, seed=3)
        assert torch.equal(module.one.weight, expected["one"].weight)


def test_data_parallel_is_the_model_in_a_reader() -> None:
    expected, wrapped = nn.Linear(3, 3), nn.DataParallel(nn.Linear(3, 3))
    init_module(expected, RECIPE, seed=6)
    load(wrapped.state_dict(), FastInitReader(wrapped, RECIPE, seed=6, include="weight"))
    assert torch.equal(wrapped.module.weight, expected.weight)
    assert not torch.equal(wrapped.module.bias, expected.bias)


def test_names_are_those_of_init_module() -> None:
    """What wraps a module is no part of its parameters' names."""

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._orig_mod = nn.Linear(3, 3)

    wrapped = Wrapper()
    plain = nn.Linear(3, 3)
    init_module(plain, {"weight": Initializer("normal"), "bias": Initializer("normal")}, seed=0)
    load(
        wrapped.state_dict(),
        FastInitReader(wrapped, {"weight": Initializer("normal"), "bias": Initializer("normal")}, seed=0),
    )
    assert torch.equal(wrapped._orig_mod.weight, plain.weight)


def test_a_state_may_have_another_type_or_place_in_memory() -> None:
    """A value is that of its tensor's own dtype; the tensor may be a part of another one, in any order."""
    reader = FastInitReader({"w": torch.zeros(4, 6)}, {"w": Initializer("normal")}, seed=2)
    wide = torch.full((6, 9), 7.0, dtype=torch.bfloat16)
    load({"w": wide[:, 1:5].t()}, reader)
    expected = {"w": torch.zeros(4, 6, dtype=torch.bfloat16)}
    load(expected, reader)
    assert torch.equal(wide[:, 1:5].t(), expected["w"])
    assert wide[:, [0, 5, 6, 7, 8]].eq(7).all()


def test_readers_refuse_what_they_cannot_make() -> None:
    ones = {"*": Initializer("ones")}
    with pytest.raises(TypeError, match="source must be a module or a state dict, got 3 of type int"):
        FastInitReader(3, ones, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no pattern matches the parameters 'w'"):
        FastInitReader({"w": torch.zeros(2)}, {"v": Initializer("ones")}, seed=0)
    with pytest.raises(ValueError, match=r"'w' must have dtype .* got torch\.complex64"):
        FastInitReader({"w": torch.zeros(2, dtype=torch.complex64)}, ones, seed=0)
    with pytest.raises(
        ValueError, match=r"parameter 'w' of shape \(2,\): Initializer\('he_normal'\): a vector has no fans"
    ):
        FastInitReader({"w": torch.zeros(2)}, {"w": Initializer("he_normal")}, seed=0)
    with pytest.raises(ValueError, match=r"^seed must be"):
        FastInitReader({"w": torch.zeros(2)}, ones, seed=-1)
    with pytest.raises(TypeError, match=r"seed must be an int, .* got None"):
        FastInitReader({"w": torch.zeros(2)}, ones, seed=None)
    with pytest.raises(ValueError, match=r"prefix must be empty or end with a dot, .* got 'model'"):
        FastInitReader({"w": torch.zeros(2)}, ones, seed=0, prefix="model")
    with pytest.raises(ValueError, match="include: no name matches the pattern 'v'"):
        FastInitReader({"w": torch.zeros(2)}, ones, seed=0, include="v")
    with pytest.raises(TypeError, match="checkpoint_prefix must be a str, got 3 of type int"):
        FastInitReader({"w": torch.zeros(2)}, ones, seed=0, checkpoint_prefix=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"running_mean: only a module's parameters are filled; .* on the meta device"):
        FastInitReader(nn.BatchNorm1d(2, device="meta"), ones, seed=0, buffers="keep")
    with pytest.raises(
        ValueError, match=r"ids: only the floating-point tensors of a state dict are filled; .* on the meta device"
    ):
        FastInitReader({"ids": torch.arange(2, device="meta")}, ones, seed=0)
    with pytest.raises(ValueError, match=r"recipe 'gpt2' is for .* unknown: 'w'"):
        FastInitReader({"w": torch.zeros(2)}, "gpt2", seed=0)


def test_loads_refuse_what_cannot_be_filled() -> None:
    reader = FastInitReader({"w": torch.zeros(4, 3)}, {"*": Initializer("ones")}, seed=0)
    with pytest.raises(ValueError, match="checkpoint_id must be left out"):
        load({"w": torch.zeros(4, 3)}, reader, checkpoint_id="somewhere")
    assert not FastInitReader.validate_checkpoint_id("somewhere")
    with pytest.raises(dcp.CheckpointException, match="'w' must have dtype"):
        load({"w": torch.zeros(4, 3, dtype=torch.int64)}, reader)
    with pytest.raises(dcp.CheckpointException, match="Size mismatch"):
        load({"w": torch.zeros(4, 4)}, reader)
    with pytest.raises(dcp.CheckpointException, match="Missing key"):
        load({"w": torch.zeros(4, 3), "v": torch.zeros(1)}, reader)

    class Odd(Shard):
        pass

    with fake(0, 2):
        mesh = init_device_mesh("cpu", (2,))
        odd = DTensor.from_local(torch.zeros(2, 3), mesh, [Odd(0)], shape=torch.Size((4, 3)), stride=(3, 1))
        with pytest.raises(dcp.CheckpointException, match=r"'w': .*placements must be"):
            load({"w": odd}, reader)
        assert odd.to_local().eq(0).all()
        # The reader is none the worse for it.
        half = distribute_tensor(torch.zeros(4, 3), mesh, [Shard(0)], src_data_rank=None)
        load({"w": half}, reader)
        assert half.to_local().eq(1).all()


def shared(how: str) -> Any:
    module = nn.Module()
    base = torch.full((6, 6), 7.0)
    module.first = nn.Parameter(base[:4] if how == "part" else base)
    module.second = nn.Parameter({"part": base[2:], "transposed": base.t(), "same": base}[how])
    module.other = nn.Linear(2, 2)
    return module


@pytest.mark.parametrize("of_module", [True, False], ids=["module", "state"])
@pytest.mark.parametrize("how", ["part", "transposed", "same"])
def test_a_reader_knows_shared_memory_as_init_module_does(how: str, of_module: bool) -> None:
    """What overlaps what is filled, or is another view of it, may not be left alone."""
    for exclude in (["second"], ["first"], []):
        errors = []
        for call in (init_module, FastInitReader):
            module = shared(how)
            source = module if of_module or call is init_module else module.state_dict()
            try:
                call(source, RECIPE, seed=0, exclude=["other.weight", *exclude])
                errors.append("")
            except ValueError as error:
                errors.append(str(error))
                assert module.first.eq(7).all()
        if how == "transposed" and not exclude:
            assert errors == ["", errors[1]]
            assert errors[1].startswith("parameter 'second' is a view of 'first' of another shape or other strides")
        else:
            assert errors[0] == errors[1]
        assert ("share memory, but" in errors[0]) == (how == "part")
        assert ("exclude: 'second' is another name of 'first'" in errors[0]) == (
            how != "part" and exclude == ["second"]
        )
    module = shared(how)
    before = module.second.clone()
    load(module.state_dict(), FastInitReader(module, RECIPE, seed=0, include="other.*"))
    assert torch.equal(module.second, before)


def test_an_excluded_buffer_goes_by_its_full_name() -> None:
    norm: Any = nn.BatchNorm1d(2)
    with torch.no_grad():
        norm.running_mean.fill_(3)
    recipe = {"net.norm.*": Initializer("ones")}
    reader = FastInitReader(norm, recipe, seed=0, prefix="net.norm.", exclude=["net.norm.[rn]*", "*.bias"])
    state = norm.state_dict()
    load(state, reader)
    assert norm.running_mean.eq(3).all()
    assert norm.weight.eq(1).all()
    meta = nn.BatchNorm1d(2, device="meta")
    FastInitReader(meta, recipe, seed=0, prefix="net.norm.", exclude=["net.norm.running*", "net.norm.num*"])
    with pytest.raises(ValueError, match=r"running_mean: .* exclude='net\.norm\.running_mean'"):
        FastInitReader(meta, recipe, seed=0, prefix="net.norm.", buffers="keep")


def test_a_reader_of_a_module_says_what_it_leaves() -> None:
    """It fills parameters. Buffers, of which a state dict has only some, would stay as they are after ``to_empty``."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.norm = nn.BatchNorm1d(2)
            self.register_buffer("hidden", torch.ones(2), persistent=False)

    read: Any = FastInitReader
    recipe = {"*": Initializer("normal", std=0.02)}
    module: Any = Both()
    words = r"a reader computes no buffers, and the module has 'a\.hidden', 'a\.norm\.running_mean', .* Use init_module"
    with pytest.raises(ValueError, match=words):
        read(module, recipe, seed=0, prefix="a.")
    with pytest.raises(ValueError, match="the module has 'hidden': "):
        read(module, recipe, seed=0, exclude="norm.*")
    with pytest.raises(ValueError, match="buffers must be None or \"keep\", got 'no' of type str"):
        read(module, recipe, seed=0, buffers="no")
    with pytest.raises(ValueError, match="buffers is for a module: a state dict does not say"):
        read(module.state_dict(), recipe, seed=0, buffers="keep")
    read(module, recipe, seed=0, include="linear.*")
    read(module, recipe, seed=0, exclude=["norm.running*", "norm.num*", "hidden"])
    wanted = Both()
    init_module(wanted, recipe, seed=0, exclude="hidden")
    module.norm.running_mean.fill_(4.0)
    load(module.state_dict(), read(module, recipe, seed=0, buffers="keep"))
    assert all(map(torch.equal, module.parameters(), wanted.parameters()))
    assert module.norm.running_mean.tolist() == [4.0, 4.0]
    module.register_buffer("shared", module.linear.weight.data[0])
    with pytest.raises(ValueError, match=r"parameter 'linear\.weight' and buffer 'shared' share memory"):
        read(module, recipe, seed=0, buffers="keep")


def test_nested_and_sparse_tensors_are_left_in_a_load() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        untyped: Any = torch
        nested = untyped.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    sparse = torch.ones(2, 2).to_sparse()
    with fake(0, 1):
        spec: Any = DTensorSpec
        meta = TensorMeta(torch.Size((2, 2)), (2, 1), torch.float32)
        mesh = init_device_mesh("cpu", (1,))
        piece = dtensor(torch.ones(2, 2).to_sparse(), spec(mesh, (Replicate(),), meta))
        state = {"w": torch.zeros(2), "nested": nested, "sparse": sparse, "piece": piece}
        load(state, FastInitReader(state, {"w": Initializer("ones")}, seed=0, include="w"))
        assert state["w"].tolist() == [1.0, 1.0]
        assert state["nested"] is nested
        assert state["sparse"] is sparse
        assert state["piece"] is piece
        for name in ("nested", "sparse", "piece"):
            with pytest.raises(ValueError, match=rf"'{name}' must be dense \(torch\.strided\), .* exclude='{name}'"):
                FastInitReader(state, {"*": Initializer("ones")}, seed=0, include=name)


def test_readers_refuse_bad_arguments_where_nothing_is_filled() -> None:
    for name, value in (("seed", "x"), ("threads", -1), ("bit_generator", "zz")):
        bad: dict[str, Any] = {"seed": 0, name: value}
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be .* got {value!r}"):
            FastInitReader(nn.Linear(2, 2), {}, exclude="*", **bad)
    lazy = nn.LazyLinear(3)
    with pytest.raises(ValueError, match=r"'weight' must have a shape, got UninitializedParameter; exclude='weight'"):
        FastInitReader(lazy, {"*": Initializer("ones")}, seed=0, include="weight")


def test_a_load_writes_no_byte_beyond_a_storage() -> None:
    weight = torch.zeros(4, 4)
    reader = FastInitReader({"w": weight}, {"w": Initializer("ones")}, seed=0)
    weight.untyped_storage().resize_(4)
    with pytest.raises(dcp.CheckpointException, match="'w' must lie within its storage"):
        load({"w": weight}, reader)


# --- real processes -------------------------------------------------------------------------------------------------


class Net(nn.Module):
    """Two layers that are cut by columns and by rows, and small things: some processes hold none of them."""

    def __init__(self, hidden: int, dtype: Any, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6, dtype=dtype)
        self.up = nn.Linear(6, hidden, dtype=dtype)
        self.down = nn.Linear(hidden, 6, dtype=dtype)
        self.norm = nn.LayerNorm(6, dtype=dtype)
        self.cube = nn.Parameter(torch.empty(3, 5, 4, dtype=dtype))
        self.scale = nn.Parameter(torch.empty(1, dtype=dtype))
        self.head = nn.Linear(6, 11, bias=False, dtype=dtype)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids: Any) -> Any:
        x = self.embed(ids)
        x = self.norm(x + self.down(torch.tanh(self.up(x)))) * self.scale + self.cube.sum()
        return self.head(x)


NET = {
    "*.bias": Initializer("uniform", {"low": -1.0, "high": 1.0}),
    "norm.weight": Initializer("truncated_normal", {"mean": 1.0, "std": 0.1}),
    "scale": Initializer("constant", {"value": 0.3}),
    "cube": Initializer("he_normal", layout="torch"),
    "embed.weight": Initializer("normal"),
    "*.weight": Initializer("xavier_normal", layout="torch"),  # a state dict does not say it
}


def meshes(size: int) -> Iterator[tuple[str, Callable[[nn.Module], Any]]]:
    """Names of ways to cut a module over so many processes, and what cuts it."""

    def cut(mesh: Any, data: str | tuple[str, ...] | None, tensor: bool, module: nn.Module, by: Any = None) -> Any:
        if tensor:
            parallelize_module(module, mesh["tensor"], {"up": ColwiseParallel(), "down": RowwiseParallel()})
        if data is not None:
            more = {} if by is None else {"shard_placement_fn": by}
            for child in (module.up, module.down):
                fully_shard(child, mesh=mesh[data], **more)  # type: ignore[arg-type]
            fully_shard(module, mesh=mesh[data], **more)
        return module

    line = init_device_mesh("cpu", (size,), mesh_dim_names=("data",))
    yield "fully sharded", functools.partial(cut, line, "data", False)
    last = functools.partial(
        cut, line, "data", False, by=lambda p: Shard(p.dim() - 1) if p.shape[-1] % size == 0 else None
    )
    yield "fully sharded by the last dimension", last
    yield (
        "tensor parallel",
        functools.partial(cut, init_device_mesh("cpu", (size,), mesh_dim_names=("tensor",)), None, True),
    )
    for n in (d for d in (2, 4) if size % d == 0 and size > d):
        grid = init_device_mesh("cpu", (size // n, n), mesh_dim_names=("data", "tensor"))
        yield f"{size // n} times {n}", functools.partial(cut, grid, "data", True)
        hybrid = init_device_mesh("cpu", (size // n, n), mesh_dim_names=("copies", "data"))
        yield f"{size // n} copies of {n}", functools.partial(cut, hybrid, ("copies", "data"), False)
    if size == 8:
        cube = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("copies", "data", "tensor"))
        yield "2 times 2 times 2", functools.partial(cut, cube, ("copies", "data"), True)


def own(tensor: Any) -> Any:
    """What this process holds of a parameter."""
    with torch.no_grad():
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()


def places(cut: Callable[[nn.Module], Any], model: Callable[[], nn.Module]) -> dict[str, Any]:
    """Which elements of each parameter this process holds: torch cuts a module whose elements are their own indices."""
    module = model()
    module.load_state_dict({name: counting(*p.shape) for name, p in module.state_dict().items()})
    return {name: own(parameter).long().flatten() for name, parameter in cut(module).named_parameters()}


def same(module: Any, expected: Any, where: Mapping[str, Any]) -> None:
    """Each element that this process holds has the bits that the whole module has there."""
    for (name, one), (other_name, other) in zip(module.named_parameters(), expected.named_parameters(), strict=True):
        assert name == other_name
        assert torch.equal(own(one).flatten(), other.detach().flatten()[where[name]]), name


def assembled(module: Any, expected: Any) -> None:
    """The same, with torch gathering the pieces. (Its ``full_tensor`` fails on some pieces without elements.)"""
    for (name, one), other in zip(module.named_parameters(), expected.parameters(), strict=True):
        full = one.full_tensor() if isinstance(one, DTensor) else one
        assert torch.equal(full.detach(), other.detach()), name


def fill(module: Any, how: str) -> None:
    """Initialise, and see that no collective is called."""
    with CommDebugMode() as calls:  # type: ignore[no-untyped-call]
        if how == "empty":
            module.to_empty(device="cpu")
        if how == "checkpoint":
            module.to_empty(device="cpu")
            load(module.state_dict(), FastInitReader(module, NET, seed=5))
        else:
            init_module(module, NET, seed=5, report=False)
    assert calls.get_total_counts() == 0, calls.get_comm_counts()


def check_same_bits(rank: int, size: int) -> None:
    """Any mesh, any way to make the module, any dtype, sizes that leave some without elements."""
    for hidden, dtype in ((16, torch.float32), (7, torch.float64), (5, torch.float16), (13, torch.bfloat16)):
        expected = Net(hidden, dtype)
        init_module(expected, NET, seed=5)
        for name, cut in meshes(size):
            where = places(cut, functools.partial(Net, hidden, torch.float64))
            everywhere: list[Any] = [None] * size
            dist.all_gather_object(everywhere, {parameter: set(index.tolist()) for parameter, index in where.items()})
            for parameter, value in expected.named_parameters():
                assert len(set().union(*(each[parameter] for each in everywhere))) == value.numel(), (name, parameter)
            for how in ("there", "meta", "empty", "checkpoint"):
                with torch.device("cpu" if how == "there" else "meta"):
                    module = cut(Net(hidden, dtype))
                fill(module, how)
                same(module, expected, where)
                if hidden == 16 and how == "meta":
                    assembled(module, expected)


def check_digests_add_up(rank: int, size: int) -> None:
    expected = init_module(Net(7, torch.float32), NET, seed=5)
    cut = dict(meshes(size))["fully sharded"]
    report = init_module(cut(Net(7, torch.float32)), NET, seed=5)
    digests: list[Any] = [None] * size
    counts: list[Any] = [None] * size
    dist.all_gather_object(digests, report.digest)
    dist.all_gather_object(counts, sum(row.n for row in report.rows))
    assert sum(counts) == sum(row.n for row in expected.rows)
    assert sum(digests) % 2**64 == expected.digest


def check_ties(rank: int, size: int) -> None:
    expected = Net(8, torch.float32, tied=True)
    init_module(expected, NET, seed=5)
    for name, cut in meshes(size):
        for how in ("there", "meta"):
            with torch.device("cpu" if how == "there" else "meta"):
                module = cut(Net(8, torch.float32, tied=True))
            fill(module, how)
            assert module.head.weight is module.embed.weight, (name, how)
            assembled(module, expected)


def check_training_goes_on(rank: int, size: int) -> None:
    """What was filled is what is used and what is optimised, forwards and backwards, twice."""
    ids = torch.arange(10).view(2, 5)

    def losses(module: Any) -> list[float]:
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        found = []
        for _ in range(2):
            loss = module(ids).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    expected = Net(16, torch.float32)
    init_module(expected, NET, seed=5)
    one = losses(expected)
    assert one[0] != one[1]
    for name, cut in meshes(size):
        for how in ("there", "meta", "empty", "checkpoint"):
            with torch.device("cpu" if how == "there" else "meta"):
                module = cut(Net(16, torch.float32))
            fill(module, how)
            np.testing.assert_allclose(losses(module), one, rtol=1e-4, err_msg=f"{name}, {how}")


def check_load_with_everybody(rank: int, size: int) -> None:
    """dcp.load as it is usually called, whose plans go through process 0; meta tensors; a state with more in it."""
    expected = Net(7, torch.float32)
    init_module(expected, NET, seed=5)
    for _, cut in meshes(size):
        with torch.device("meta"):
            module = cut(Net(7, torch.float32))
        where = places(cut, lambda: Net(7, torch.float64))
        module.to_empty(device="cpu")
        state = {"model": module.state_dict(), "step": 3}
        source = {f"model.{name}": value for name, value in module.state_dict().items()}
        recipe = {f"model.{pattern}": initializer for pattern, initializer in NET.items()}
        dcp.load(
            {"model": module.state_dict()},
            storage_reader=FastInitReader(module, NET, seed=5, checkpoint_prefix="model."),
        )
        same(module, expected, where)
        dcp.load(state, storage_reader=FastInitReader({**source, "step": 0}, recipe, seed=5))
        assert state["step"] == 3
        assert not torch.equal(
            own(module.embed.weight).flatten(), expected.embed.weight.flatten()[where["embed.weight"]]
        )
    cut = dict(meshes(size))["fully sharded"]
    with torch.device("meta"):
        module = cut(Net(7, torch.float32))
    values = module.state_dict()
    dcp.load(values, storage_reader=FastInitReader(module, NET, seed=5))
    module.load_state_dict(values, assign=True)
    same(module, expected, places(cut, lambda: Net(7, torch.float64)))


def high_water() -> Callable[[], int]:
    """Starts to measure how far this process's memory grows; the result says by how much it has, in bytes."""

    def status(key: str) -> int:
        for line in pathlib.Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
        raise AssertionError(key)

    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    before = status("VmRSS")
    return lambda: status("VmHWM") - before


def check_memory(rank: int, size: int) -> None:
    """Each process takes its piece, and 4 MiB at most for threads and lists."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        return
    piece = 24 * 2**20
    cut = dict(meshes(size))["fully sharded"]

    class Large(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Linear(1024, size * piece // 4096 - 1, bias=False)
            self.down = nn.Linear(3, 3, bias=False)

    def growth(action: Callable[[], object]) -> int:
        grown = high_water()
        action()
        return grown()

    recipe = {"*": Initializer("normal")}
    with torch.device("meta"):
        modules = [cut(Large()) for _ in range(3)]
        init_module(cut(Net(4, torch.float32)), NET, seed=0)  # loads what is loaded once
    made = growth(lambda: init_module(modules[0], recipe, seed=0, report=False))
    filled = growth(lambda: init_module(modules[0], recipe, seed=1, report=False))
    modules[1].to_empty(device="cpu")
    state = modules[1].state_dict()
    load(
        state,
        FastInitReader({"x": torch.zeros(1)}, recipe, seed=0, checkpoint_prefix="y"),
        planner=dcp.DefaultLoadPlanner(allow_partial_load=True),
    )
    loaded = growth(lambda: load(state, FastInitReader(modules[1], recipe, seed=0)))
    assert 0.9 * piece < made < piece + 4 * 2**20, made
    assert filled < 4 * 2**20, filled
    assert loaded < piece + 4 * 2**20, loaded


def check_without_a_group(rank: int, size: int) -> None:
    """The last check: there is nobody to talk to any more."""
    ways = dict(meshes(size))
    first, later = ({name: cut(Net(7, torch.float32)) for name, cut in ways.items()} for _ in range(2))
    for module in first.values():
        init_module(module, NET, seed=5)
    dist.destroy_process_group()
    for name, module in later.items():
        init_module(module, NET, seed=5)
        for one, other in zip(module.parameters(), first[name].parameters(), strict=True):
            assert torch.equal(own(one), own(other)), name


CHECKS: Mapping[int, tuple[Callable[[int, int], None], ...]] = {
    1: (check_same_bits, check_ties, check_training_goes_on, check_load_with_everybody, check_without_a_group),
    2: (check_same_bits, check_digests_add_up, check_ties, check_training_goes_on, check_memory, check_without_a_group),
    4: (check_same_bits, check_training_goes_on, check_load_with_everybody, check_memory, check_without_a_group),
    8: (check_same_bits, check_digests_add_up, check_without_a_group),
}


def process(rank: int, size: int, directory: str) -> None:
    """One process of a group: runs the checks, and leaves a file that says what was wrong."""
    torch.set_num_threads(1)
    fastinit.set_num_threads(1)
    said = pathlib.Path(directory, f"said-{rank}")
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{directory}/rendezvous",
            rank=rank,
            world_size=size,
            timeout=datetime.timedelta(seconds=60),
        )
        for check in CHECKS[size]:
            start = time.monotonic()
            check(rank, size)
            print(f"{size} processes: {check.__name__} {time.monotonic() - start:.1f} s") if rank == 0 else None
        said.write_text("all is well")
    except BaseException:
        said.write_text(f"process {rank} of {size}: {traceback.format_exc()}")
        raise


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_real_processes(size: int, tmp_path: pathlib.Path) -> None:
    context = multiprocessing.get_context("spawn")
    group = [context.Process(target=process, args=(rank, size, str(tmp_path)), daemon=True) for rank in range(size)]
    for member in group:
        member.start()
    end = time.monotonic() + 240
    while any(member.is_alive() for member in group) and time.monotonic() < end:
        time.sleep(0.05)
        if any(member.exitcode for member in group):
            end = min(end, time.monotonic() + 5)  # the others wait for it in vain
    for member in group:
        member.kill()
        member.join()
    said = {
        rank: path.read_text() if (path := tmp_path / f"said-{rank}").exists() else f"exit code {member.exitcode}"
        for rank, member in enumerate(group)
    }
    assert set(said.values()) == {"all is well"}, "\n".join(f"{rank}: {text}" for rank, text in said.items())
