"""
transformers' Trainer: model_init, and a model that is sharded
==============================================================

``Trainer`` takes a model, or a function ``model_init`` that makes one. Either may come from
``fastinit.torch.deferred``: a class of transformers has its own initialisation, which is recorded
and made with the bits that depend on the seed and the parameters' names alone. So the weights do not
depend on how many processes there are, nor on what has drawn from torch's generator before.

The same training runs three times here: on one process; on two with DDP, each with the whole model;
and on two with FSDP2, each with its pieces of it.

``python examples/train_transformers.py`` runs all three on the CPU. It needs ``accelerate``, as
``Trainer`` does.
"""

import os
import sys
import tempfile

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.run import main as torchrun
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import fastinit.torch

# %%
# GPT-2, small. Its head is its embedding, and some of its matrices are drawn again, with a standard
# deviation that depends on the depth. Without dropout, so that the runs can be compared.

config = GPT2Config(
    vocab_size=96,
    n_positions=16,
    n_embd=64,
    n_layer=2,
    n_head=4,
    resid_pdrop=0,
    embd_pdrop=0,
    attn_pdrop=0,
    bos_token_id=None,
    eos_token_id=None,
)


def build():
    with fastinit.torch.deferred(seed=0) as plan:
        model = GPT2LMHeadModel(config)
    plan.materialize(model)
    return model


# %%
# The same, in pieces. ``is_distributed_loading_by_transformers`` says that the model is sharded already,
# so that Trainer does not wrap it in DDP. (On GPUs ``fsdp=`` does as well: accelerate then leaves a model
# as it is that has gone through ``fully_shard``. On CPUs, accelerate has DDP alone.)


class Sharded(GPT2LMHeadModel):
    is_distributed_loading_by_transformers = True


def build_sharded():
    with fastinit.torch.deferred(seed=0) as plan:
        model = Sharded(config)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in model.transformer.h:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    plan.materialize(model)
    return model


# %%
# The training: the loss of each step, of a batch of 16 in all.

data = [{"input_ids": torch.arange(i, i + 16), "labels": torch.arange(i, i + 16)} for i in range(80)]


def train(**model):
    arguments = TrainingArguments(
        tempfile.gettempdir(),  # where nothing is saved
        use_cpu=True,
        max_steps=10,
        learning_rate=1e-2,
        per_device_train_batch_size=16 // int(os.environ.get("WORLD_SIZE", 1)),
        ddp_find_unused_parameters=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(args=arguments, train_dataset=data, **model)
    trainer.train()
    return torch.tensor([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])


# %%
# The claim, asserted on each process. DDP sends the first process's weights to the others, so they are
# compared before. The losses differ by the order of sums alone.


def main(alone):
    dist.init_process_group("gloo")
    whole, sharded = build(), build_sharded()
    for (name, one), other in zip(whole.named_parameters(), sharded.parameters(), strict=True):
        everywhere = [torch.empty_like(one) for _ in range(dist.get_world_size())]
        dist.all_gather(everywhere, one.detach())
        for values in (*everywhere, other.full_tensor()):
            assert torch.equal(values.view(torch.int32), one.view(torch.int32)), name
    assert sharded.lm_head.weight is sharded.transformer.wte.weight

    for model in ({"model_init": build}, {"model": sharded}):
        losses = train(**model)
        torch.testing.assert_close(losses, alone, rtol=1e-3, atol=0)
    if dist.get_rank() == 0:
        print(f"one process, DDP, FSDP2: one start, one training; loss {losses[0]:.2f} -> {losses[-1]:.2f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    if "RANK" in os.environ:  # torchrun has started this process
        main(torch.tensor([float(loss) for loss in sys.argv[1:]]))
    else:
        alone = train(model_init=build)
        assert alone[-1] < alone[0] * 0.8
        losses = [str(loss) for loss in alone.tolist()]
        torchrun(["--standalone", "--local-addr=localhost", "--nproc-per-node=2", __file__, *losses])
