r"""
A sigmoid has a linear and a flat part, and good weights stay between them
==========================================================================

Around 0 a sigmoid is nearly the line :math:`1/2 + h/4`: for all h it differs from it by at most
:math:`|h|^3 / 48`. A layer that stays there is linear, and so is a whole network of such layers,
however deep. Far from 0 it is flat: its slope is below :math:`e^{-|h|}`, and no gradient comes
through. Which part a layer uses is up to the standard deviation of its pre-activations h, which
with inputs of N(0, 1) is :math:`\sqrt{n} \operatorname{sd}(w)`.

The middle is no cure for depth: the slope is nowhere above 1/4, so with Xavier's law gradients lose a
factor of at least 16 in variance in each layer (LeCun et al. 1998 and Glorot and Bengio 2010 advise
functions that are symmetric around 0, such as tanh). And in the flat part it is the units that stop
learning, rather than the gradient as a whole: few units are steep there, but their weights are
large.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import fastinit
from fastinit.signal import chi

n, batch = 256, 256


def sigmoid(h):
    return 1 / (1 + np.exp(-h))


# %%
# One layer of 256 units with three laws: pre-activations of a standard deviation of 0.1, 1 and 10.

LAWS = {0.1: "too small: N(0, 0.1/16)", 1.0: "Xavier: N(0, 1/16)", 10.0: "too large: N(0, 10/16)"}
x = fastinit.normal(np.empty((batch, n)), seed=0, stream="x")
pre, slopes, linear, gain = {}, {}, {}, {}
for std in LAWS:
    w = fastinit.normal(np.empty((n, n)), 0, std / math.sqrt(n), seed=0, stream="w")
    h = pre[std] = x @ w.T
    slopes[std] = sigmoid(h) * sigmoid(-h)
    linear[std] = np.corrcoef(h.ravel(), sigmoid(h).ravel())[0, 1] ** 2
    gain[std] = n * np.mean(w**2) * np.mean(slopes[std] ** 2)
    flat = np.mean(np.abs(h) > 4)
    print(f"sd {std:4}: linear part of the output {linear[std]:7.2%}", end="")
    print(f", slope below e^-4: {flat:5.1%}, variance of gradients x {gain[std]:.4f}")

plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(1, 3, figsize=(9.5, 3.4), sharey=True, layout="constrained")
curve = np.linspace(-12, 12, 401)
for axes, (std, title) in zip(panels, LAWS.items(), strict=True):
    counts = axes.twinx()
    counts.hist(pre[std].ravel(), np.linspace(-12, 12, 121), color="C5", alpha=0.6)
    counts.set_yticks([])
    axes.set_zorder(1)  # in front of the histogram
    axes.set_facecolor("none")
    axes.plot(curve, sigmoid(curve), color="C0", linewidth=2)
    axes.plot(curve, 1 / 2 + curve / 4, "--", color="C2", linewidth=1)
    axes.set(title=title, xlabel="pre-activation h", ylim=(-0.05, 1.05), xlim=(-12, 12))
panels[0].set_ylabel("sigmoid (dashes: 1/2 + h/4)")
plt.show()

# %%
# The claims, asserted. First, the two bounds of the text, on the curve.

assert np.all(np.abs(sigmoid(curve) - (1 / 2 + curve / 4)) <= np.abs(curve) ** 3 / 48 + 1e-15)
assert np.all(sigmoid(curve) * sigmoid(-curve) <= np.exp(-np.abs(curve)) + 1e-15)

# %%
# Second, small weights make the layer linear. Of the output's variance, about sd^2 / 16, the line
# leaves at most E h^6 / 48^2 = 15 sd^6 / 48^2. (The lengths of weights and inputs differ from unit to
# unit: (1 + 6 / n)^2 is the effect on E h^6, and as much is allowed for chance.)

assert 1 - linear[0.1] < 15 * 0.1**6 / 48**2 / (0.1**2 / 16) * (1 + 6 / n) ** 4
assert linear[0.1] > linear[1.0] > linear[10.0]

# %%
# Third, large ones make it flat. Slopes that share weights or inputs are not independent: they count
# as n, where there are n * batch.

for std, h in pre.items():
    expected = math.erfc(4 / std / math.sqrt(2))
    assert abs(np.mean(np.abs(h) > 4) - expected) <= 4 * math.sqrt(expected * (1 - expected) / n)
assert np.mean(slopes[10.0] < math.exp(-4)) > 0.5
assert np.mean(slopes[1.0] < math.exp(-4)) < 0.01

# %%
# Fourth, the gain of gradients is what theory says, counted in the same way. With Xavier's law it is
# below 1/16, and with the large weights it is larger.

for std, measured in gain.items():
    error = np.std(slopes[std] ** 2) / np.mean(slopes[std] ** 2) / math.sqrt(n)
    assert abs(measured / chi(std**2, "sigmoid", std) - 1) < 4 * (error + math.sqrt(2) / n)
assert gain[1.0] < 1 / 16
assert gain[10.0] > gain[1.0]

# %%
# So ten layers of Xavier's sigmoids leave the gradient less than 1/4 a layer, in standard deviation.

report = fastinit.signal.mlp([n] * 11, "sigmoid", "xavier_normal", x=x)
print(report.advice[0])
assert report.backward_gain < (1 / 4) ** 10 * math.exp(4 * 0.5 * math.sqrt(5 * 10 / n))
