r"""
Orthogonal weights keep the length of every gradient, normal ones that of the average
=====================================================================================

Xavier's and He's laws keep the *mean* square of signals and gradients. What happens to a single
direction is in the singular values of the Jacobian of outputs by inputs. If all are near 1, the
network has *dynamical isometry*, and learns as fast as a shallow one (Saxe et al. 2013, `Exact
solutions to the nonlinear dynamics of learning <https://arxiv.org/abs/1312.6120>`_; Pennington et
al. 2017, `Resurrecting the sigmoid <https://arxiv.org/abs/1711.04735>`_).

A product of L orthogonal matrices is orthogonal: all singular values are 1. A product of L normal
ones of variance 1/n has the mean square 1, too, but the largest square is about
:math:`(L + 1)^{L + 1} / L^L \approx e (L + 1/2)`, and most of the others are near 0. With tanh
between the layers, orthogonal weights come close to isometry if the signal is small. With relu they
do not: a layer lets at most as many directions through as it has units that are on, about half.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import fastinit
from fastinit.signal import fixed_points

n, depth = 256, 30

# %%
# The Jacobian at an input is the product of the layers' :math:`D W`, where D has the slopes of the
# activation on its diagonal.


def weights(law, layer, gain):
    w = np.empty((n, n))
    if law == "orthogonal":
        return fastinit.orthogonal(w, gain, seed=0, stream=f"{layer}")
    return fastinit.normal(w, 0, gain / math.sqrt(n), seed=0, stream=f"{layer}")


def singular_values(law, activation, gain, size):
    z = size * fastinit.normal(np.empty(n), seed=0, stream="x")
    jacobian, slopes = np.eye(n), []
    for layer in range(depth):
        w = weights(law, layer, gain)
        h = w @ z
        if activation == "linear":
            z, slope = h, np.ones(n)
        elif activation == "tanh":
            z, slope = np.tanh(h), 1 / np.cosh(h) ** 2
        else:
            z, slope = np.maximum(h, 0), (h > 0).astype(float)
        jacobian = slope[:, None] * (w @ jacobian)
        slopes.append(slope)
    return np.linalg.svd(jacobian, compute_uv=False), np.array(slopes)


# %%
# Tanh has a variance of pre-activations where it rests (``fixed_points``), which is small for gains a
# little above 1. Relu has He's gain.

GAINS = {"linear": 1.0, "tanh": 1.02, "relu": math.sqrt(2)}
rest = fixed_points("tanh", GAINS["tanh"])[-1]
print(f"tanh rests at a variance of {rest.q:.3f}, where gradients are multiplied by {rest.chi:.3f} a layer")
SIZES = {"linear": 1.0, "tanh": math.sqrt(rest.q) / GAINS["tanh"], "relu": 1.0}

values, slopes = {}, {}
for activation in GAINS:
    for law in ("orthogonal", "normal"):
        s, slopes[law, activation] = singular_values(law, activation, GAINS[activation], SIZES[activation])
        values[law, activation] = s
        print(f"{activation:7}{law:11} largest {s[0]:8.4f}, median {np.median(s):.2g}, mean square {np.mean(s**2):.3f}")

plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(1, 3, figsize=(9.5, 3.5), sharey=True, layout="constrained")
for axes, activation in zip(panels, GAINS, strict=True):
    for law, style in (("orthogonal", "-"), ("normal", "--")):
        axes.plot(np.arange(1, n + 1), np.maximum(values[law, activation], 1e-12), style, linewidth=2, label=law)
    axes.set(title=activation, xlabel="number of the singular value", yscale="log", ylim=(1e-9, 50))
panels[0].set_ylabel("singular values of the Jacobian")
panels[0].legend(loc="lower left")
plt.show()

# %%
# The claims, asserted. First, orthogonal layers without an activation are an isometry, up to float64's
# rounding of 30 products of n terms.

assert np.all(np.abs(values["orthogonal", "linear"] - 1) < depth * n * np.finfo(float).eps)

# %%
# Second, Pennington et al. 2017 have the variance of all squared singular values, divided by the
# square of their mean: :math:`L (\mu_2 / \mu_1^2 - 1)` for orthogonal and :math:`L \mu_2 / \mu_1^2`
# for normal weights, with :math:`\mu_k` the mean of :math:`\phi'^{\,2k}`. It is 0.1 for a tanh with
# orthogonal weights, and 30 and more with a relu or with normal weights. At width n, the logarithm of
# the mean square differs from theory by about L / n: each layer multiplies it by a random number of
# variance 2 (l + 1) / n^2. The bound is four times this.

chance = 4 * depth / n
for (law, activation), s in values.items():
    mu1, mu2 = np.mean(slopes[law, activation] ** 2), np.mean(slopes[law, activation] ** 4)
    spread = depth * (mu2 / mu1**2 - (law == "orthogonal"))
    measured = np.var(s**2) / np.mean(s**2) ** 2
    print(f"{activation:7}{law:11} variance of squares, relative: {measured:.3g}, in theory {spread:.3g}")
    if spread > 0:
        assert abs(math.log(measured / spread)) < chance

# %%
# Third, normal weights without an activation: mean square 1, the largest one, and the median, for
# which a product of L matrices has (1 - 1/2)^(L/2), since the k-th direction keeps 1 - k/n of its
# square in each layer, with the relative variance 2 / (n - k).

s = values["normal", "linear"]
assert abs(math.log(np.mean(s**2))) < chance
assert abs(math.log(s[0] ** 2 * depth**depth / (depth + 1) ** (depth + 1))) < chance
assert abs(math.log(np.median(s) / 0.5 ** (depth / 2))) < 4 * 0.5 * math.sqrt(depth * 2 / (n / 2))

# %%
# Fourth, what is left in each direction. With tanh and orthogonal weights, a relative variance of 0.1
# of squares leaves at most 0.1 / (3/4)^2 of them beyond a factor of 2 (Chebyshev). With relu there are
# no more directions than units that are on.

s = values["orthogonal", "tanh"]
assert np.mean((s > 1 / 2) & (s < 2)) > 1 - 0.1 / (3 / 4) ** 2

s = values["orthogonal", "relu"]
on = int(np.min(np.sum(slopes["orthogonal", "relu"], axis=1)))
print(f"{on} of {n} units are on in the layer with the fewest")
assert np.all(s[on:] < depth * n * np.finfo(float).eps)
assert on < n / 2 + 4 * math.sqrt(n) / 2  # each is on with probability 1/2
