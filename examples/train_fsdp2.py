"""
FSDP2: a model's own weights, in pieces
=======================================

Who shards a model before it has weights must give it some afterwards. ``to_empty()`` and
``reset_parameters()`` give others on each number of processes, and need a model that can be
initialised twice; the whole model on each process, cut up later, needs the memory that sharding was
to save. With ``fastinit.torch.deferred`` the model's own code says how its weights are made, while
it is built without memory, and each process makes its own pieces, without asking another. Together
they are the weights that one process alone would have, bit for bit.

``python examples/train_fsdp2.py`` starts four processes on the CPU, and
``torchrun --nproc-per-node=8 examples/train_fsdp2.py`` as many as you like.
"""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.run import main as torchrun
from torch.nn import functional

import fastinit.torch

# %%
# A small language model, as one might have it: with an initialisation of its own, that nobody has
# written for sharding. Two layers are drawn again, the head is the embedding, a row of padding is 0.


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        return x + self.down(functional.gelu(self.up(self.norm(x))))


class Model(nn.Module):
    def __init__(self, tokens=100, width=64, depth=3):
        super().__init__()
        self.embed = nn.Embedding(tokens, width, padding_idx=0)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)
        self.apply(self.init_weights)
        for block in self.blocks:
            with torch.no_grad():
                block.down.weight /= (2 * depth) ** 0.5
        self.head.weight = self.embed.weight

    def init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias) if module.bias is not None else None
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.weight[module.padding_idx])

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


# %%
# Build, shard, materialize: then the optimizer, since ``materialize`` puts new parameters into the
# places of those that have no memory.


def build(mesh=None):
    with fastinit.torch.deferred(seed=0) as plan:
        model = Model()
    if mesh is not None:
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    plan.materialize(model)
    return model


# %%
# Each process has its part of a batch. The task: after each token comes the next but one.


def train(model, rank, size, steps=15):
    x = torch.arange(1, 97).view(24, 4).chunk(size)[rank]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = functional.cross_entropy(model(x).flatten(0, 1), (x + 2).flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses)


# %%
# The claim, asserted on each process: the pieces are those of the whole model, and so training is
# the same, but for the order of sums.


def main():
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    model = build(init_device_mesh("cpu", (size,)))
    alone = build()
    for (name, sharded), whole in zip(model.named_parameters(), alone.parameters(), strict=True):
        assert sharded.to_local().numel() < whole.numel() or size == 1, name
        assert torch.equal(sharded.full_tensor().view(torch.int32), whole.view(torch.int32)), name
    assert model.head.weight is model.embed.weight

    losses = train(model, rank, size)
    dist.all_reduce(losses)
    losses /= size
    assert losses[-1] < losses[0] / 2
    torch.testing.assert_close(losses, train(alone, 0, 1), rtol=1e-3, atol=0)
    if rank == 0:
        print(f"{size} processes: the weights of one, bit for bit; loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:  # torchrun has started this process
        main()
    else:
        torchrun(["--standalone", "--local-addr=localhost", "--nproc-per-node=4", __file__])
