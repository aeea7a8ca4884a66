r"""
AlexNet's N(0, 0.01) loses the gradient in a deeper network
===========================================================

AlexNet (Krizhevsky et al. 2012) drew all its weights from a normal distribution with a standard
deviation of 0.01. It had five convolutions, and layers with up to 9216 inputs, for which He's law is
not far from that: :math:`\sqrt{2/9216} = 0.015`. With more than eight convolutions, such networks
hardly learn (He et al. 2015, `Delving deep into rectifiers <https://arxiv.org/abs/1502.01852>`_).

The paper has the number for model B of VGG, whose convolutions have 64 to 512 filters. He's law
:math:`\sqrt{2 / (9 d)}`, with d filters, is 0.059, 0.042, 0.029 and 0.021. With 0.01 instead, the
standard deviation of the gradient that gets from the tenth convolution to the second is

.. math:: \frac{1}{5.9 \times 4.2^2 \times 2.9^2 \times 2.1^4} = \frac{1}{1.7 \times 10^4}

of what it should be. Here these layers are built in PyTorch, and it is measured.
"""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import torch

import fastinit.torch
from fastinit.recipes import Initializer

torch.set_num_threads(1)  # layers of this size gain little from more

# %%
# The ten convolutions of model B, each followed by a relu, and by a pooling where P stands; on images
# of 32 x 32 of noise. He's law is meant backwards here, with the number of outputs (fan_out).

FILTERS = [64, 64, "P", 128, 128, "P", 256, 256, "P", 512, 512, "P", 512, 512]
LAWS = {
    "N(0, 0.01)": Initializer("normal", std=0.01),
    "He": Initializer("he_normal", mode="fan_out"),
}


def vgg_b(law):
    model, channels = torch.nn.Sequential(), 3
    number = itertools.count(1)
    for filters in FILTERS:
        if filters == "P":
            model.append(torch.nn.MaxPool2d(2))
        else:
            name = f"conv{next(number)}"
            model.add_module(name, torch.nn.Conv2d(channels, filters, 3, padding=1))
            model.append(torch.nn.ReLU())
            channels = filters
    fastinit.torch.init_module(model, {"*.weight": law, "*.bias": Initializer("zeros")}, seed=0)
    return model


images = torch.from_numpy(fastinit.normal(np.empty((8, 3, 32, 32), np.float32), seed=0, stream="images"))
reports = {name: fastinit.torch.signal(vgg_b(law), images) for name, law in LAWS.items()}
convolutions = {
    name: [layer for layer in report.layers if layer.name.startswith("conv")] for name, report in reports.items()
}

for name, report in reports.items():
    print(f"{name}: {report.summary}")

plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True, layout="constrained")
for (name, layers), style in zip(convolutions.items(), ("s--C2", "o-C0"), strict=True):
    panels[0].plot(range(1, 11), [layer.output.std for layer in layers], style, label=name)
    panels[1].plot(range(1, 11), [layer.gradient.std for layer in layers], style, label=name)
panels[0].set(xlabel="convolution", ylabel="standard deviation of outputs", yscale="log", xticks=range(1, 11))
panels[1].set(xlabel="convolution", ylabel="standard deviation of gradients", yscale="log")
panels[0].legend()
plt.show()

# %%
# The steps of He's gradients are the poolings: three of four places get none.
#
# The claim, asserted. The gradient at the output of the first convolution has come through the
# second to the tenth. Both laws scale the same random numbers, and relu and pooling do not mind how
# large a signal is: so the two measured gradients differ by the ratios of the standard deviations,
# up to float32's rounding.

came_through = {name: layers[0].gradient.std / layers[9].gradient.std for name, layers in convolutions.items()}
ratio = came_through["He"] / came_through["N(0, 0.01)"]
print(f"{ratio:.0f}")

stds = [math.sqrt(2 / (9 * d)) for d in (64, 128, 128, 256, 256, 512, 512, 512, 512)]
assert [round(std, 3) for std in sorted(set(stds), reverse=True)] == [0.059, 0.042, 0.029, 0.021]
assert math.isclose(ratio, math.prod(std / 0.01 for std in stds), rel_tol=1e-3)
assert round(ratio, -3) == 17_000

# %%
# Forwards, the factor 5.9 of the first convolution counts, too.

forward = {name: layers[9].output.std for name, layers in convolutions.items()}
assert math.isclose(forward["He"] / forward["N(0, 0.01)"], math.sqrt(2 / (9 * 64)) / 0.01 * ratio, rel_tol=1e-3)

# %%
# And each by itself is what theory says. A convolution with d inputs multiplies the mean square by
# 9 d Var(w), less what is missing beyond the borders: an image of s x s has (3 s - 2)^2 places under
# the kernels, of (3 s)^2. The logarithm wanders by sqrt(5 / n) in a layer of n filters (Hanin and
# Rolnick 2018). The bound is four times that of all ten.

shapes = [(3, 64, 32), (64, 64, 32), (64, 128, 16), (128, 128, 16), (128, 256, 8), (256, 256, 8)]
shapes += [(256, 512, 4), (512, 512, 4), (512, 512, 2), (512, 512, 2)]
wander = 4 * math.sqrt(sum(5 / filters for _, filters, _ in shapes))
for name, layers in convolutions.items():
    expected = 0.0
    for inputs, filters, size in shapes:
        variance = 0.01**2 if name == "N(0, 0.01)" else 2 / (9 * filters)
        expected += math.log(9 * inputs * variance * ((3 * size - 2) / (3 * size)) ** 2)
    measured = sum(math.log(layer.gain**2) for layer in layers)
    print(f"{name}: all convolutions together multiply the mean square by e^{measured:.2f}, in theory e^{expected:.2f}")
    assert abs(measured - expected) < wander
