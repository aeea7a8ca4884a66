r"""
Units with equal weights stay equal: a hidden layer acts as one neuron
======================================================================

Two hidden units with the same weights in and out compute the same number, get the same gradient,
and so are the same unit after each step of training. It does not matter whether the common weights
are zeros, one constant, or random numbers that all units share. Only weights that *differ from
unit to unit* break the symmetry (Goodfellow et al. 2016, `Deep Learning
<https://www.deeplearningbook.org/contents/optimization.html>`_, section 8.4).

Here a hidden layer of 8 units learns whether two signs are equal, the pattern of XOR: which points
of a square have :math:`x_1 x_2 > 0`. One neuron puts a straight line between the classes, and so
does a layer of equal units.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastinit

units = 8
x = fastinit.uniform(np.empty((400, 2)), -1, 1, seed=0, stream="x")
target = (x[:, 0] * x[:, 1] > 0).astype(float)


# %%
# The network: :math:`f(x) = v \cdot \phi(W x + b) + c`, trained by gradient descent on the whole
# set, with the log-loss of the sigmoid of f. The gradients are written out. Each array has a rate of
# its own, since a comparison below needs that.


def sigmoid(h):
    return 1 / (1 + np.exp(-h))


ACTIVATIONS = {  # the function, and its derivative from its value
    "relu": (lambda h: np.maximum(h, 0), lambda z: (z > 0).astype(float)),
    "tanh": (np.tanh, lambda z: 1 - z**2),
    "sigmoid": (sigmoid, lambda z: z * (1 - z)),
}


def f(network, x, activation):
    w, b, v, c = network
    return activation[0](x @ w.T + b) @ v + c


def train(network, activation, rates=(1.0, 1.0, 1.0, 1.0), steps=6000):
    w, b, v, c = network
    phi, slope = activation
    for _ in range(steps):
        z = phi(x @ w.T + b)
        at_output = (sigmoid(z @ v + c) - target) / len(x)
        at_hidden = np.outer(at_output, v) * slope(z)
        w = w - rates[0] * at_hidden.T @ x
        b = b - rates[1] * at_hidden.sum(axis=0)
        v = v - rates[2] * z.T @ at_output
        c = c - rates[3] * at_output.sum()
    return w, b, v, c


# %%
# Four ways to begin. Biases are zeros, as usual.


def begin(name):
    w, v = np.empty((units, 2)), np.empty(units)
    if name == "zeros":
        fastinit.zeros(w), fastinit.zeros(v)
    elif name == "constant":
        fastinit.constant(w, 0.5), fastinit.constant(v, 0.5)
    elif name == "equal":
        w[:] = fastinit.xavier_normal(np.empty(2), 2, units, seed=0, stream="equal")  # one row for all
        fastinit.constant(v, 0.5)
    else:
        fastinit.xavier_normal(w, 2, units, seed=0, stream="w")
        fastinit.xavier_normal(v, units, 1, seed=0, stream="v")
    return w, np.zeros(units), v, 0.0


STARTS = ("zeros", "constant", "equal", "random")
trained = {(a, s): train(begin(s), ACTIVATIONS[a]) for a in ACTIVATIONS for s in STARTS}
accuracy = {
    (a, s): np.mean((f(network, x, ACTIVATIONS[a]) > 0) == (target == 1)) for (a, s), network in trained.items()
}

# %%
# What they learned: the colour is the output, the line where it says "either".

side = np.linspace(-1, 1, 101)
grid = np.stack(np.meshgrid(side, side), axis=-1)

plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(3, 4, figsize=(9, 7.2), sharex=True, sharey=True, layout="constrained")
for row, a in zip(panels, ACTIVATIONS, strict=True):
    for axes, s in zip(row, STARTS, strict=True):
        says = sigmoid(f(trained[a, s], grid.reshape(-1, 2), ACTIVATIONS[a])).reshape(101, 101)
        picture = axes.pcolormesh(side, side, says, cmap="PuOr", vmin=0, vmax=1, alpha=0.6, rasterized=True)
        if says.min() < 0.5 < says.max():
            axes.contour(side, side, says, [0.5], colors="black")
        for label, marker in ((0, "."), (1, "+")):
            some = x[target == label][::2]
            axes.plot(*some.T, marker, color="black", markersize=4, alpha=0.7)
        axes.set_title(f"{a}, {s}: {accuracy[a, s]:.0%}", fontsize=10)
        axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1])
for axes in panels[-1]:
    axes.set_xlabel("$x_1$")
for axes in panels[:, 0]:
    axes.set_ylabel("$x_2$")
figure.colorbar(picture, ax=panels, label="probability of the class +", shrink=0.6)
plt.show()

# %%
# The claim, asserted. First, units that begin equal are equal after 6000 steps. Rounding may differ
# from unit to unit, so they are equal up to a small multiple of it.

for (a, s), (w, b, v, _) in trained.items():
    units_as_rows = np.column_stack([w, b, v])
    apart = np.abs(units_as_rows - units_as_rows[0]).max()
    if s == "random":
        assert len(np.unique(units_as_rows.round(3), axis=0)) == units
    else:
        assert apart <= 1e-9 * np.abs(units_as_rows).max(), (a, s)

# %%
# Second, such a layer *is* one neuron, in each step of its training: one with :math:`v' = 8 v`. The
# gradient of :math:`v'` is that of each v, so :math:`v'` moves by 8 of its steps; that of w is 8
# times as large, as it has the factor :math:`v'`, so it moves by 1/8.

neurons = {}
for a in ACTIVATIONS:
    for s in ("zeros", "constant", "equal"):
        w, b, v, c = begin(s)
        neuron = train((w[:1], b[:1], units * v[:1], c), ACTIVATIONS[a], (1 / units, 1 / units, units, 1))
        layer = f(trained[a, s], x, ACTIVATIONS[a])
        assert np.allclose(f(neuron, x, ACTIVATIONS[a]), layer, rtol=0, atol=1e-6 * (1 + np.abs(layer).max()))

# %%
# Third, zeros in front of relu or tanh do not even move: hidden outputs of 0 give v no gradient, and
# a v of 0 gives none to the rest. (A sigmoid's output at 0 is 1/2, so that v moves, and then w.)

for a in ("relu", "tanh"):
    w, b, v, _ = trained[a, "zeros"]
    assert not np.any(w)
    assert not np.any(b)
    assert not np.any(v)
assert trained["sigmoid", "zeros"][0].any()

# %%
# Fourth, the best straight line, out of 360 directions with a border at each point, is no match for
# units that differ.

angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
along = x @ np.array([np.cos(angles), np.sin(angles)])
correct = [(positions[:, None] >= positions) == (target == 1)[:, None] for positions in along.T]
best_line = max(table.mean(axis=0).max() for table in correct)
print(f"best straight line: {best_line:.1%}")
for (a, s), share in accuracy.items():
    assert (share > best_line) == (s == "random"), (a, s, share)
