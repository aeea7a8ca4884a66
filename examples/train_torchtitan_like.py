"""
As in torchtitan: two-dimensional meshes, and no to_empty
=========================================================

`torchtitan <https://github.com/pytorch/torchtitan>`_ and trainers of its kind build the model on
meta, apply tensor parallelism, then FSDP2, and then give it memory and weights by ``to_empty()`` and
the model's ``init_weights()``. The weights are drawn piece by piece from torch's generator, so they
depend on the mesh; to start two meshes alike, one process writes a seed checkpoint, which the
others load. With ``fastinit.torch.deferred``, ``init_weights()`` is called where the model is built,
which only records it, and ``plan.materialize(model)`` stands where ``to_empty`` and ``init_weights``
were. Any mesh then begins with the same bits, without a file.

``python examples/train_torchtitan_like.py`` starts four processes on the CPU, a mesh of 2 x 2.
"""

import math
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.run import main as torchrun
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn import functional

import fastinit.torch

# %%
# A Llama of a few layers. ``init_weights`` has truncated normals, whose width depends on the depth
# and on the layer; the rotary table is a buffer of complex numbers that no checkpoint has.


@dataclass
class Arguments:
    dim: int = 64
    layers: int = 2
    heads: int = 4
    tokens: int = 128
    length: int = 16


class Attention(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.head = args.dim // args.heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(args.dim, args.dim, bias=False) for _ in range(4))

    def init_weights(self, std):
        for linear in (self.wq, self.wk, self.wv):
            nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.trunc_normal_(self.wo.weight, std=std)

    def forward(self, x, rotary):
        q, k, v = (w(x).unflatten(-1, (-1, self.head)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        q, k = (torch.view_as_complex(part.float().unflatten(-1, (-1, 2)).contiguous()) * rotary for part in (q, k))
        q, k = (torch.view_as_real(part).flatten(-2).to(v.dtype) for part in (q, k))
        x = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(x.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.w1, self.w3 = (nn.Linear(args.dim, 4 * args.dim, bias=False) for _ in range(2))
        self.w2 = nn.Linear(4 * args.dim, args.dim, bias=False)

    def init_weights(self, std):
        nn.init.trunc_normal_(self.w1.weight, std=0.02)
        for linear in (self.w2, self.w3):
            nn.init.trunc_normal_(linear.weight, std=std)

    def forward(self, x):
        return self.w2(functional.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    def __init__(self, layer, args):
        super().__init__()
        self.std = 0.02 / math.sqrt(2 * (layer + 1))
        self.attention_norm, self.ffn_norm = nn.RMSNorm(args.dim), nn.RMSNorm(args.dim)
        self.attention, self.feed_forward = Attention(args), FeedForward(args)

    def init_weights(self):
        self.attention_norm.reset_parameters()
        self.ffn_norm.reset_parameters()
        self.attention.init_weights(self.std)
        self.feed_forward.init_weights(self.std)

    def forward(self, x, rotary):
        x = x + self.attention(self.attention_norm(x), rotary)
        return x + self.feed_forward(self.ffn_norm(x))


class Llama(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.tok_embeddings = nn.Embedding(args.tokens, args.dim)
        self.layers = nn.ModuleDict({str(i): Block(i, args) for i in range(args.layers)})
        self.norm = nn.RMSNorm(args.dim)
        self.output = nn.Linear(args.dim, args.tokens, bias=False)
        self.register_buffer("rotary", self.angles(), persistent=False)

    def angles(self):
        n = self.args.dim // self.args.heads
        turns = torch.outer(torch.arange(self.args.length), 10000 ** -(torch.arange(0, n, 2) / n))
        return torch.polar(torch.ones_like(turns), turns)

    def init_weights(self):
        self.rotary = self.angles()
        nn.init.normal_(self.tok_embeddings.weight)
        for block in self.layers.values():
            block.init_weights()
        self.norm.reset_parameters()
        std = self.args.dim**-0.5
        nn.init.trunc_normal_(self.output.weight, std=std, a=-3 * std, b=3 * std)

    def forward(self, x):
        x = self.tok_embeddings(x)
        for block in self.layers.values():
            x = block(x, self.rotary)
        return self.output(self.norm(x))


# %%
# ``parallelize_fn``: tensor and sequence parallelism, then FSDP2 with bfloat16 for the computation.


def apply_tp(model, mesh):
    ends = {
        "tok_embeddings": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),
        "norm": SequenceParallel(),
        "output": ColwiseParallel(input_layouts=Shard(1), output_layouts=Replicate()),
    }
    parallelize_module(model, mesh, ends)
    for block in model.layers.values():
        each = {
            "attention_norm": SequenceParallel(),
            "attention": PrepareModuleInput(input_layouts=(Shard(1), None), desired_input_layouts=(Replicate(), None)),
            "attention.wq": ColwiseParallel(),
            "attention.wk": ColwiseParallel(),
            "attention.wv": ColwiseParallel(),
            "attention.wo": RowwiseParallel(output_layouts=Shard(1)),
            "ffn_norm": SequenceParallel(),
            "feed_forward": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),)),
            "feed_forward.w1": ColwiseParallel(),
            "feed_forward.w2": RowwiseParallel(output_layouts=Shard(1)),
            "feed_forward.w3": ColwiseParallel(),
        }
        parallelize_module(block, mesh, each)


def apply_fsdp(model, mesh):
    settings = {"mesh": mesh, "mp_policy": MixedPrecisionPolicy(torch.bfloat16, torch.float32)}
    fully_shard(model.tok_embeddings, **settings)
    for block in model.layers.values():
        fully_shard(block, **settings)
    fully_shard([model.norm, model.output], reshard_after_forward=False, **settings)
    fully_shard(model, **settings)


# %%
# What the trainer does. Before, it was::
#
#     with torch.device("meta"):
#         model = Llama(args)
#     parallelize_fn(model)
#     model.to_empty(device="cpu")
#     with torch.no_grad():
#         model.init_weights()


def build(args, mesh=None):
    with fastinit.torch.deferred(seed=0) as plan:
        model = Llama(args)
        model.init_weights()
    if mesh is not None:
        apply_tp(model, mesh["tp"])
        apply_fsdp(model, mesh["dp"])
    plan.materialize(model)
    return model.train()


def train(model, rank, size, steps=6):
    length = model.args.length
    x = torch.arange(model.args.tokens - length).unfold(0, length, 2)[:48].chunk(size)[rank]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = functional.cross_entropy(model(x).flatten(0, 1).float(), (x + 2).flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses)


# %%
# The claim, asserted on each process: pieces of pieces, and yet the whole. Parameters are kept in
# float32; that the computation is in bfloat16 changes the losses by its rounding.


def main():
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (size // 2, 2), mesh_dim_names=("dp", "tp"))
    args = Arguments()
    model = build(args, mesh)
    alone = build(args)
    for (name, sharded), whole in zip(model.named_parameters(), alone.parameters(), strict=True):
        assert sharded.device_mesh.ndim == 2
        assert torch.equal(sharded.full_tensor().view(torch.int32), whole.view(torch.int32)), name
        held = sharded.to_local().numel() * size // (2 if "norm" in name else 1)
        assert held == whole.numel(), name
    assert torch.equal(torch.view_as_real(model.rotary), torch.view_as_real(alone.rotary))

    losses = train(model, mesh["dp"].get_local_rank(), mesh["dp"].size())
    dist.all_reduce(losses)
    losses /= size
    assert losses[-1] < losses[0] / 2
    torch.testing.assert_close(losses, train(alone, 0, 1), rtol=0.02, atol=0)
    if rank == 0:
        print(f"{size} processes: the weights of one, bit for bit; loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:  # torchrun has started this process
        main()
    else:
        torchrun(["--standalone", "--local-addr=localhost", "--nproc-per-node=4", __file__])
