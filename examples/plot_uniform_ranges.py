r"""
Of four uniform ranges, one gives a tanh the same gradient for any number of inputs
===================================================================================

Weights from U(-b, b) have the variance :math:`b^2 / 3`, so n inputs of N(0, 1) give a unit's
pre-activation h the variance :math:`n b^2 / 3`.

====================================  ==================  ==========================================
range                                 variance of h       what follows
====================================  ==================  ==========================================
U(-1, 1)                              :math:`n/3`         the more inputs, the flatter the tanh
U(-0.05, 0.05)                        :math:`n/1200`      right for some number of inputs
U(-1/n, 1/n)                          :math:`1/(3 n)`     the more inputs, the less signal
:math:`U(-1/\sqrt n, 1/\sqrt n)`      :math:`1/3`         the same for each n
====================================  ==================  ==========================================

(The last is "the commonly used heuristic" of Glorot and Bengio 2010, and PyTorch's default.) Two
things make up the gradient: the slope :math:`\tanh'(h)`, and the weights that it is multiplied by
on its way to the layer before. Over a layer with n inputs and n units the variance of gradients is
multiplied by :math:`\chi = n \operatorname{Var}(w) \operatorname{E} \tanh'(h)^2`
(:func:`fastinit.signal.chi`). A steep slope alone does not help: U(-1/n, 1/n) has the steepest, and
its gradient vanishes.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import fastinit
from fastinit.signal import chi

RANGES = {
    "U(-1, 1)": lambda n: 1,
    "U(-0.05, 0.05)": lambda n: 0.05,
    "U(-1/n, 1/n)": lambda n: 1 / n,
    "U(-1/sqrt(n), 1/sqrt(n))": lambda n: 1 / math.sqrt(n),
}
counts = [2, 4, 100]
units, batch = 1000, 100

# %%
# 1000 units of each kind, 100 inputs for each unit.

slopes, weights = {}, {}
for n in counts:
    x = fastinit.normal(np.empty((units, batch, n)), seed=0, stream=f"x {n}")
    for name, b in RANGES.items():
        w = fastinit.uniform(np.empty((units, n)), -b(n), b(n), seed=0, stream=f"{name} {n}")
        h = np.einsum("ubn,un->ub", x, w)
        slopes[name, n], weights[name, n] = 1 / np.cosh(h) ** 2, w

measured = {
    (name, n): n * np.mean(weights[name, n] ** 2) * np.mean(slope**2, axis=1) for (name, n), slope in slopes.items()
}
for name in RANGES:
    gains = ", ".join(f"{np.mean(measured[name, n]):.4f} ({n})" for n in counts)
    print(f"{name:24} chi of 2, 4, 100 inputs: {gains}")

plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
panels = panels.ravel()
lines = ("-", "--", "-.", ":")
for axes, n in zip(panels, counts, strict=False):
    for name, line in zip(RANGES, lines, strict=True):
        ordered = np.sort(slopes[name, n], axis=None)
        axes.plot(ordered, np.linspace(0, 1, ordered.size), line, linewidth=2, rasterized=True)
    axes.set(title=f"{n} inputs", xlabel="slope tanh'(h)", ylabel="share of slopes below that")
for name, line in zip(RANGES, lines, strict=True):
    panels[3].plot(counts, [np.mean(measured[name, n]) for n in counts], "o" + line, linewidth=2, label=name)
panels[3].set(title="gain of gradients, $\\chi$", xlabel="number of inputs", xscale="log", yscale="log")
panels[3].set_xticks(counts, map(str, counts))
panels[3].minorticks_off()
figure.legend(ncols=4, loc="outside lower center")
plt.show()

# %%
# The claims, asserted. Given its weights, a unit's h is exactly N(0, \|w\|): ``chi`` with
# sigma_w = 1 is then the expected squared slope, unit by unit. What was measured differs from it by
# chance alone, and the differences themselves say how much: bounds are four standard errors.


def agrees(sample, expected):
    """Whether the mean of a sample is the expected one, up to four standard errors."""
    return abs(np.mean(sample) - expected) <= 4 * np.std(sample) / math.sqrt(len(sample))


for (name, n), w in weights.items():
    sizes = np.sum(w**2, axis=1)
    assert agrees(sizes, n * RANGES[name](n) ** 2 / 3)
    assert agrees(np.mean(slopes[name, n] ** 2, axis=1) - chi(sizes, "tanh"), 0)

# %%
# What the table says. With 100 inputs and U(-1, 1) h is close to normal, of variance 100/3: 3/4 of
# the slopes are below 0.1. (Close: \|w\|^2 has a relative variance of 0.8/100, and no share is off by
# more than that.) Its gradients do not vanish, though. They grow, since a few units are still steep,
# and their weights are large.

flat = math.erfc(math.acosh(math.sqrt(10)) / math.sqrt(2 * 100 / 3))
flat_units = np.mean(slopes["U(-1, 1)", 100] < 0.1, axis=1)
assert abs(np.mean(flat_units) - flat) < 4 * np.std(flat_units) / math.sqrt(units) + 0.8 / 100
assert np.mean(measured["U(-1, 1)", 100]) > 1

# %%
# From 2 to 100 inputs chi changes by a factor of 5 and more for three ranges. For the last one it is
# the same up to 5 %, the effect of an h that is not quite normal with 2 inputs: half of the second
# derivative, times the variance of \|w\|^2.

ROOT = list(RANGES)[-1]
change = {name: np.mean(measured[name, 100]) / np.mean(measured[name, 2]) for name in RANGES}
assert all(abs(math.log(factor)) > math.log(5) for name, factor in change.items() if name != ROOT)
errors = [np.std(measured[ROOT, n]) / np.mean(measured[ROOT, n]) / math.sqrt(units) for n in (2, 100)]
assert abs(change[ROOT] - 1) < 0.05 + 4 * math.hypot(*errors)

# %%
# The last range multiplies the variance of gradients by 0.22 for any n, which is still too little for
# a deep network. Its weights have the variance :math:`1/(3n)`; Xavier's law has :math:`1/n`.

assert round(chi(1 / 3, "tanh", math.sqrt(1 / 3)), 2) == 0.22
small_signal = 1e-6  # where tanh is a line
assert abs(chi(small_signal, "tanh", math.sqrt(1 / 3)) - 1 / 3) < 1e-5
assert abs(chi(small_signal, "tanh", 1) - 1) < 1e-5
