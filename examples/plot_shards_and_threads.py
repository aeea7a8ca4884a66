"""
The same weights on any shards and threads
==========================================

A generator that hands out one number after another gives other weights whenever the work is cut in
another way: two processes that hold half a matrix each draw from their own generators, and get
another matrix than one process would, or, with one seed for all, the same half twice.

In fastinit a weight is a function of the seed, the stream's name and the element's index *in the
whole matrix* (Salmon et al. 2011, `Parallel random numbers: as easy as 1, 2, 3
<https://doi.org/10.1145/2063384.2063405>`_, is how). Whoever holds a part fills that part, without
asking anybody, and the whole is the same bits, whatever the cut, the number of threads, or the
layout in memory.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastinit

rows, columns = 24, 36
arguments = {"seed": 0, "stream": "fc1.weight"}
whole = fastinit.he_normal(np.empty((rows, columns), np.float32), columns, **arguments)

# %%
# Six processes of a mesh of 2 x 3. Each has an array for its own part, says where that is in the
# whole, and fills it with as many threads as it likes.

parts = {}
for i in range(2):
    for j in range(3):
        part = np.empty((rows // 2, columns // 3), np.float32)
        corner = (i * rows // 2, j * columns // 3)
        fastinit.he_normal(part, columns, global_shape=whole.shape, offset=corner, threads=1 + i + 3 * j, **arguments)
        parts[i, j] = part
by_mesh = np.block([[parts[i, j] for j in range(3)] for i in range(2)])

# %%
# The usual way, NumPy's generator in each process: with one seed, all parts are equal; with a seed for
# each, they differ from what one process alone has.


def with_numpy(shape, seed):
    return np.random.default_rng(seed).normal(0, np.sqrt(2 / columns), shape)


one = with_numpy(whole.shape, seed=0)
same_seed = np.block([[with_numpy(parts[i, j].shape, seed=0) for j in range(3)] for i in range(2)])

limit = 3 * np.sqrt(2 / columns)


def show(axes, matrix, title):
    axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set(title=title, xticks=[], yticks=[])


def show_parts(axes, matrix, title):
    """With gaps between the parts."""
    gapped = np.full((rows + 2, columns + 4), np.nan)
    for i in range(2):
        for j in range(3):
            r, c = i * rows // 2, j * columns // 3
            gapped[r + 2 * i : r + 2 * i + rows // 2, c + 2 * j : c + 2 * j + columns // 3] = matrix[
                r : r + rows // 2, c : c + columns // 3
            ]
    show(axes, gapped, title)


figure, panels = plt.subplots(2, 3, figsize=(9.5, 4.6), layout="constrained")
show(panels[0, 0], whole, "fastinit: one process")
show_parts(panels[0, 1], by_mesh, "six processes")
show(panels[0, 2], by_mesh - whole, "difference")
show(panels[1, 0], one, "NumPy: one process")
show_parts(panels[1, 1], same_seed, "six processes, one seed")
show(panels[1, 2], same_seed - one, "difference")
for axes in panels[:, 0]:
    axes.set_ylabel("units")
for axes in panels[1]:
    axes.set_xlabel("inputs")
plt.show()

# %%
# The claims, asserted, bit for bit. The mesh; then a matrix that is large enough for threads, for
# several numbers of them, cut into uneven boxes, in Fortran's order, and in every second column of
# another array.

assert np.array_equal(by_mesh, whole)
assert not np.array_equal(same_seed, one)
assert np.array_equal(same_seed[: rows // 2, : columns // 3], same_seed[rows // 2 :, : columns // 3])

large = fastinit.he_normal(np.empty((1000, 3000), np.float32), 3000, threads=1, **arguments)
for threads in (2, 3, 7):
    assert np.array_equal(fastinit.he_normal(np.empty_like(large), 3000, threads=threads, **arguments), large)

for r, c in ((slice(0, 1000), slice(0, 1)), (slice(17, 18), slice(0, 3000)), (slice(333, 999), slice(1234, 2345))):
    box = np.empty(large[r, c].shape, np.float32)
    fastinit.he_normal(box, 3000, global_shape=large.shape, offset=(r.start, c.start), **arguments)
    assert np.array_equal(box, large[r, c])

assert np.array_equal(fastinit.he_normal(np.empty(large.shape, np.float32, order="F"), 3000, **arguments), large)
every_second = np.zeros((1000, 6000), np.float32)
assert np.array_equal(fastinit.he_normal(every_second[:, ::2], 3000, **arguments), large)
assert not every_second[:, 1::2].any()
