"""
Tensor parallelism: a model's own weights, in rows and columns
==============================================================

``parallelize_module`` cuts matrices into rows or columns. A process that draws its own part from a
generator of its own gets other numbers than the whole matrix has there, and where all have one
seed, each part gets the same numbers. ``parallelize_module`` of a model that has its weights is
right, but needs all of them on each process first. With ``fastinit.torch.deferred`` the model is
built without memory, cut, and filled: each process makes the elements that it holds, and together
they are the weights of one process, bit for bit.

``python examples/train_tensor_parallel.py`` starts two processes on the CPU; under torchrun, 1, 2
or 4 of them share the four heads.
"""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.run import main as torchrun
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional

import fastinit.torch

TOKENS, WIDTH, HEADS, LENGTH = 96, 64, 4, 8

# %%
# The model. Its initialisation is its own code: torch's defaults, some of them drawn again, one
# matrix orthogonal, and a table of positions that is computed.


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        for linear in (self.q, self.k, self.v):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.orthogonal_(self.o.weight, gain=0.5)

    def forward(self, x):
        # -1 heads: as many as this process has.
        q, k, v = (part(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2) for part in (self.q, self.k, self.v))
        x = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(x.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)
        nn.init.kaiming_normal_(self.up.weight, nonlinearity="relu")

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.down(functional.relu(self.up(x)))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(WIDTH, TOKENS, bias=False)
        angles = torch.outer(torch.arange(LENGTH), 100 ** -torch.linspace(0, 1, WIDTH // 2))
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], dim=1), persistent=False)

    def forward(self, x):
        x = self.embed(x) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(x)


# %%
# How it is cut: the plan of ``parallelize_module`` is the usual one.

EACH_BLOCK = {
    "attention.q": ColwiseParallel(),
    "attention.k": ColwiseParallel(),
    "attention.v": ColwiseParallel(),
    "attention.o": RowwiseParallel(),
    "up": ColwiseParallel(),
    "down": RowwiseParallel(),
}
ENDS = {
    "embed": RowwiseParallel(input_layouts=Replicate()),
    "head": ColwiseParallel(output_layouts=Replicate()),
}


def build(mesh=None):
    with fastinit.torch.deferred(seed=0) as plan:
        model = Model()
    if mesh is not None:
        parallelize_module(model, mesh, ENDS)
        for block in model.blocks:
            parallelize_module(block, mesh, EACH_BLOCK)
    plan.materialize(model)
    return model


# %%
# All processes have the whole batch. The task: after each token comes the next but one.


def train(model, steps=6):
    x = torch.arange(TOKENS - LENGTH).unfold(0, LENGTH, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = functional.cross_entropy(model(x).flatten(0, 1), (x + 2).flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses)


# %%
# The claim, asserted on each process. What is not in the plan, such as the norms, is whole on all of
# them, and equal too.


def main():
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    model = build(init_device_mesh("cpu", (size,)))
    alone = build()
    cut = 0
    for (name, tensor), whole in zip(model.state_dict().items(), alone.state_dict().values(), strict=True):
        if isinstance(tensor, DTensor):
            cut += tensor.to_local().numel() < whole.numel()
            tensor = tensor.full_tensor()
        assert torch.equal(tensor.view(torch.int32), whole.view(torch.int32)), name
    assert cut == 16 or size == 1
    assert torch.equal(model.positions, alone.positions)

    losses = train(model)
    assert losses[-1] < losses[0] / 2
    torch.testing.assert_close(losses, train(alone), rtol=1e-3, atol=0)
    if rank == 0:
        print(f"{size} processes: the weights of one, bit for bit; loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:  # torchrun has started this process
        main()
    else:
        torchrun(["--standalone", "--local-addr=localhost", "--nproc-per-node=2", __file__])
