r"""
22 layers learn with Xavier, later than with He; 30 layers learn with He only
=============================================================================

Figures 2 and 3 of He et al. 2015 (`Delving deep into rectifiers
<https://arxiv.org/abs/1502.01852>`_) compare the two laws in training. In a relu network of 22
layers Xavier's law converges, but He's reduces the error earlier. With 30 layers Xavier's stalls
completely.

The reason is one factor: before a relu, Xavier's law shrinks the standard deviation of signals, and
of gradients, by :math:`\sqrt{1/2}` a layer. That is :math:`2^{-11}` over 22 layers, which training
can make up for, and :math:`2^{-15}` over 30.

The paper trains convolutions on ImageNet. Here fully connected layers of 128 units learn the 1797
digits of scikit-learn, in PyTorch.
"""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

import fastinit.torch
from fastinit.recipes import Initializer

torch.set_num_threads(1)  # matrices of this size gain nothing from more
images, labels = load_digits(return_X_y=True)
images = torch.tensor((images - images.mean()) / images.std(), dtype=torch.float32)
labels = torch.tensor(labels)

# %%
# ``init_module`` gives each weight values by its name, with the fans of its module. Biases are
# zeros, as in the paper.

LAWS = {"Xavier": Initializer("xavier_normal"), "He": Initializer("he_normal")}


def network(depth, law, seed):
    widths = [64] + [128] * (depth - 1) + [10]
    layers = [torch.nn.Linear(n_in, n_out) for n_in, n_out in itertools.pairwise(widths)]
    with_relu = [module for layer in layers for module in (layer, torch.nn.ReLU())]
    model = torch.nn.Sequential(*with_relu[:-1])
    fastinit.torch.init_module(model, {"*.weight": LAWS[law], "*.bias": Initializer("zeros")}, seed=seed)
    return model


def train(model, epochs=15):
    """Plain SGD with momentum, one rate for all. Returns the mean loss of each epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
    shuffle = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(images), generator=shuffle).split(64):
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(images))
    return losses


# %%
# Before training, ``signal`` says what is going to happen.

report = fastinit.torch.signal(network(30, "Xavier", 0), images[:256])
print(report.summary)
print(*report.advice, sep="\n")

# %%
# Then both depths with both laws.

losses = {(depth, law): train(network(depth, law, seed=0)) for depth in (22, 30) for law in LAWS}

plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for axes, depth in zip(panels, (22, 30), strict=True):
    for law, style in (("He", "o-C0"), ("Xavier", "s--C2")):
        axes.plot(range(1, 16), losses[depth, law], style, markersize=4, label=law)
    axes.axhline(math.log(10), color="grey", linewidth=0.8)
    axes.set(title=f"{depth} layers", xlabel="epoch", xticks=[1, 5, 10, 15])
panels[0].set_ylabel("training loss (grey: guessing)")
panels[0].legend()
plt.show()

# %%
# The claims, asserted. First, the factor at the start, in the reports: the same random numbers in
# both laws, relus that scale with their inputs, and layers whose standard deviations differ by
# sqrt((n_in + n_out) / n_in), which is sqrt(2) but for the first and the last.

for depth in (22, 30):
    shrunk = {law: fastinit.torch.signal(network(depth, law, 0), images[:256]).layers[-1].output.std for law in LAWS}
    factor = math.prod(math.sqrt((i + o) / i) for i, o in [(64, 128), *[(128, 128)] * (depth - 2), (128, 10)])
    assert math.isclose(shrunk["He"] / shrunk["Xavier"], factor, rel_tol=1e-3)  # rounding of float32, 30 layers

# %%
# Second, the training. Whoever ignores the image cannot have a loss below the entropy of the labels,
# about log(10). He's law gets to less than half of it, with both depths; Xavier's leaves it with 22
# layers, later than He's, and with 30 layers not in fifteen epochs.

shares = np.bincount(labels) / len(labels)
entropy = -np.sum(shares * np.log(shares))


def leaves(values):
    """The first epoch whose loss is a tenth below that of guessing."""
    return next((epoch for epoch, loss in enumerate(values) if loss < 0.9 * entropy), math.inf)


assert min(losses[22, "He"]) < entropy / 2
assert min(losses[30, "He"]) < entropy / 2
assert leaves(losses[22, "He"]) < leaves(losses[22, "Xavier"]) < math.inf
assert min(losses[30, "Xavier"]) > 0.99 * entropy
