"""
Lightning: configure_model with FSDP2
=====================================

Lightning calls ``LightningModule.configure_model`` on each process, once there is a mesh: this is
where a large model is built and sharded. With ``ModelParallelStrategy`` what is left on meta there
gets ``to_empty()``, and ``reset_parameters()`` of each layer: not what the model's own code gives it,
and modules without that method keep memory that nobody has written. With
``fastinit.torch.deferred`` nothing is left on meta: each process makes its own pieces of the weights
that the model's code gives, with the bits that one process alone would have.

``python examples/train_lightning.py`` runs two processes on the CPU, the second of which Lightning
starts. ``ModelParallelStrategy`` works there; ``FSDPStrategy``, which is FSDP1, asks for GPUs.
"""

import os

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from torch.utils.data import DataLoader

import fastinit.torch

# %%
# The model: a tower of residual layers, with an initialisation of its own.


class Layer(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 0.1))  # reset_parameters would miss it
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.kaiming_normal_(self.up.weight, nonlinearity="relu")
        nn.init.normal_(self.down.weight, std=(4 * width * depth) ** -0.5)

    def forward(self, x):
        return x + self.scale * self.down(functional.relu(self.up(x)))


class Tower(nn.Module):
    def __init__(self, width=64, depth=3):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, depth) for _ in range(depth))
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def build(mesh=None):
    with fastinit.torch.deferred(seed=0) as plan:
        model = Tower()
    if mesh is not None:
        for layer in model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    plan.materialize(model)
    return model


# %%
# The LightningModule. ``configure_model`` may be called again, when the model is there.


class Regression(LightningModule):
    def __init__(self):
        super().__init__()
        self.model = None
        self.losses = []

    def configure_model(self):
        if self.model is None:
            self.model = build(self.device_mesh["data_parallel"])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)

    def on_fit_start(self):
        check(self.model)

    def training_step(self, batch):
        x, y = batch
        loss = functional.mse_loss(self.model(x), y)
        self.losses.append(loss.detach())
        return loss


# %%
# The claim, asserted on each process when the fit starts.


def check(model):
    alone = build()
    for (name, sharded), whole in zip(model.named_parameters(), alone.parameters(), strict=True):
        assert torch.equal(sharded.full_tensor().view(torch.int32), whole.view(torch.int32)), name


if __name__ == "__main__":
    size = int(os.environ.get("WORLD_SIZE", 2))  # as many as torchrun has started, if it has
    x = fastinit.torch.init.normal_(torch.empty(256, 64), seed=1)
    data = DataLoader(list(zip(x, x[:, :1].sign(), strict=True)), batch_size=64 // size)
    trainer = Trainer(
        accelerator="cpu",
        devices=size,
        strategy=ModelParallelStrategy(data_parallel_size=size, tensor_parallel_size=1),
        max_epochs=5,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Regression()
    trainer.fit(module, data)
    losses = torch.stack(module.losses)
    dist.all_reduce(losses)
    losses /= size
    assert losses[-1] < losses[0] / 2
    if trainer.is_global_zero:
        print(f"{size} processes: the weights of one, bit for bit; loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    dist.destroy_process_group()
