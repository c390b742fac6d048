"""A view of one image after the other, compiled for the CPU by numba.

The same operations as in ``operations.py`` and ``resize.py``, and equal to them (a test holds
them to it); but an image stays in the cache through all of them, which is what a CPU needs and a
chain of batched tensor operations cannot give. Functions work in place on x (C, S, S) float32 in
[0, 1].
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` as machine code, kept for the next time where there is a place to keep it."""
    settings: dict[str, Any] = {"fastmath": True, "nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **settings)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        return njit(**settings)(function)


@compiled
def paint_views(images, share, cut, boxes, draws, kernels, mean, scale, out):  # type: ignore[no-untyped-def]
    """Make a view of every image.

    Args:
        images: (B, C, H, W) uint8, or float32 in [0, 1].
        share: float32 of one step of ``images``: 1/255, or 1.
        cut: whether ``boxes`` are cut out; otherwise H = W = S already.
        boxes: (B, 4) int64 top, left, height, width.
        draws: (flags, sequence, values): (B, 6) bool flip, vertical flip, jitter, grey, blur,
            solarize; (B, 4) int64 which colour change comes first to last; (B, 6) float32
            brightness, contrast, saturation, hue, sine and cosine of the turn.
        kernels: (B, 2r + 1) float32, of the blur.
        mean: (C,) float32.
        scale: (C,) float32, 1 / std.
        out: (B, S, S, C) float32, filled.
    """
    flags, sequence, values = draws
    size, channels = out.shape[1], out.shape[3]
    x = np.empty((channels, size, size), np.float32)
    spare = np.empty_like(x)
    rows = np.empty((size, max(images.shape[3], size)), np.float32)
    columns = np.empty((images.shape[3], size), np.float32)
    for b in range(len(images)):
        if cut:
            _crop_resize(images[b], share, boxes[b], rows, columns, x)
        else:
            _unit(images[b], share, x)
        if flags[b, 0]:
            x[:] = x[:, :, ::-1].copy()
        if flags[b, 1]:
            x[:] = x[:, ::-1].copy()
        if values[b, 4] != 0:
            _rotate(x, values[b, 4], values[b, 5], spare)
        if flags[b, 2]:
            _jitter(x, sequence[b], values[b])
        if flags[b, 3] and channels == 3:
            _grey(x)
        if flags[b, 4]:
            _blur(x, kernels[b], spare)
        if flags[b, 5]:
            _solarize(x)
        for c in range(channels):
            middle, k = mean[c], scale[c]
            for i in range(size):
                for j in range(size):
                    out[b, i, j, c] = (x[c, i, j] - middle) * k


@compiled
def _clipped(value):  # type: ignore[no-untyped-def]
    return min(max(value, np.float32(0)), np.float32(1))


@compiled
def _unit(image, share, x):  # type: ignore[no-untyped-def]
    channels, height, width = image.shape
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                x[c, i, j] = image[c, i, j] * share


@compiled
def _taps(start, length, size):  # type: ignore[no-untyped-def]
    """First pixel and weights of every output pixel; the kernel of ``resize_weights``."""
    scale = length / size
    stretch = max(scale, 1.0)
    first = np.empty(size, np.int64)
    weights = np.zeros((size, min(int(4 * stretch) + 3, length)), np.float32)
    for i in range(size):
        centre = start + (i + 0.5) * scale
        low = max(start, math.floor(centre - 2 * stretch - 0.5))
        low = min(low, start + length - weights.shape[1])
        first[i] = low
        total = 0.0
        for t in range(weights.shape[1]):
            d = abs(low + t + 0.5 - centre) / stretch
            w = 0.0
            if d < 1:
                w = (1.5 * d - 2.5) * d * d + 1
            elif d < 2:
                w = ((-0.5 * d + 2.5) * d - 4) * d + 2
            weights[i, t] = w
            total += w
        weights[i] /= total
    return first, weights


@compiled
def _add_scaled(row, weight, source):  # type: ignore[no-untyped-def]
    """row += weight * source, the form that becomes vector instructions."""
    for j in range(len(row)):
        row[j] += weight * source[j]


@compiled
def _crop_resize(image, share, box, rows, columns, x):  # type: ignore[no-untyped-def]
    """Down first, then across on the transpose, so that both passes run along rows."""
    top, left, height, width = box
    size = x.shape[1]
    first_row, down = _taps(top, height, size)
    first_column, across = _taps(left, width, size)
    for c in range(x.shape[0]):
        for i in range(size):
            row = rows[i, :width]
            row[:] = 0
            for t in range(down.shape[1]):
                source = image[c, first_row[i] + t, left : left + width]
                _add_scaled(row, down[i, t] * share, source)
        _transpose(rows[:, :width], columns)
        for j in range(size):
            row = rows[j, :size]
            row[:] = 0
            for t in range(across.shape[1]):
                _add_scaled(row, across[j, t], columns[first_column[j] - left + t])
            for i in range(size):
                x[c, i, j] = _clipped(row[i])


@compiled
def _transpose(rows, columns):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            columns[j, i] = rows[i, j]


@compiled
def _reflected(position, size):  # type: ignore[no-untyped-def]
    """A coordinate beyond the border is mirrored at the border's outer edge."""
    span = position + 0.5
    turns = math.floor(span / size)
    inside = span - turns * size
    inside = inside if turns % 2 == 0 else size - inside
    return min(max(inside - 0.5, 0.0), size - 1.0)


@compiled
def _rotate(x, sine, cosine, spare):  # type: ignore[no-untyped-def]
    channels, size = x.shape[0], x.shape[1]
    middle = (size - 1) / 2
    spare[:] = x
    for i in range(size):
        for j in range(size):
            u, v = j - middle, i - middle
            column = _reflected(cosine * u - sine * v + middle, size)
            row = _reflected(sine * u + cosine * v + middle, size)
            j0, i0 = int(column), int(row)
            j1, i1 = min(j0 + 1, size - 1), min(i0 + 1, size - 1)
            q, p = np.float32(column - j0), np.float32(row - i0)
            for c in range(channels):
                above = spare[c, i0, j0] + q * (spare[c, i0, j1] - spare[c, i0, j0])
                below = spare[c, i1, j0] + q * (spare[c, i1, j1] - spare[c, i1, j0])
                x[c, i, j] = _clipped(above + p * (below - above))


@compiled
def _jitter(x, sequence, values):  # type: ignore[no-untyped-def]
    for change in sequence:
        if change == 0:
            _brightness(x, values[0])
        elif change == 1:
            _contrast(x, values[1])
        elif x.shape[0] == 3:
            planes = x.reshape(3, -1)
            if change == 2:
                _saturation(planes[0], planes[1], planes[2], values[2])
            else:
                _hue(planes[0], planes[1], planes[2], values[3] * np.float32(6))


@compiled
def _brightness(x, delta):  # type: ignore[no-untyped-def]
    flat = x.reshape(-1)
    for i in range(len(flat)):
        flat[i] = _clipped(flat[i] + delta)


@compiled
def _contrast(x, factor):  # type: ignore[no-untyped-def]
    for c in range(x.shape[0]):
        plane = x[c].reshape(-1)
        total = np.float32(0)
        for i in range(len(plane)):
            total += plane[i]
        rest = total / np.float32(len(plane)) * (np.float32(1) - factor)
        for i in range(len(plane)):
            plane[i] = _clipped(factor * plane[i] + rest)


@compiled
def _saturation(r, g, b, factor):  # type: ignore[no-untyped-def]
    for i in range(len(r)):
        value = max(max(r[i], g[i]), b[i])
        chroma = value - min(min(r[i], g[i]), b[i])
        f = min(factor, value / max(chroma, np.float32(1e-12)))
        r[i] = _clipped(value + f * (r[i] - value))
        g[i] = _clipped(value + f * (g[i] - value))
        b[i] = _clipped(value + f * (b[i] - value))


@compiled
def _hue(r, g, b, turn):  # type: ignore[no-untyped-def]
    six, three, one = np.float32(6), np.float32(3), np.float32(1)
    for i in range(len(r)):
        value = max(max(r[i], g[i]), b[i])
        chroma = value - min(min(r[i], g[i]), b[i])
        share = one / max(chroma, np.float32(1e-12))
        by_blue = (r[i] - g[i]) * share + np.float32(4)
        by_green = (b[i] - r[i]) * share + np.float32(2)
        by_red = (g[i] - b[i]) * share
        sextant = by_green if value == g[i] else by_blue
        sextant = (by_red if value == r[i] else sextant) + turn
        sextant -= six * np.floor(sextant * (one / six))
        # A channel is full around its own hue and empty opposite: 0 for red, 2 green, 4 blue.
        red = _clipped(abs(sextant - three) - one)
        green = _clipped(np.float32(2) - abs(sextant - np.float32(2)))
        blue = _clipped(np.float32(2) - abs(sextant - np.float32(4)))
        r[i] = _clipped(value - chroma * (one - red))
        g[i] = _clipped(value - chroma * (one - green))
        b[i] = _clipped(value - chroma * (one - blue))


@compiled
def _grey(x):  # type: ignore[no-untyped-def]
    planes = x.reshape(3, -1)
    for i in range(planes.shape[1]):
        luma = np.float32(0.2989) * planes[0, i] + np.float32(0.5870) * planes[1, i]
        luma += np.float32(0.1140) * planes[2, i]
        planes[0, i] = luma
        planes[1, i] = luma
        planes[2, i] = luma


@compiled
def _blur(x, kernel, spare):  # type: ignore[no-untyped-def]
    """Down, then across; zeros beyond the border."""
    radius, size = len(kernel) // 2, x.shape[1]
    spare[:] = 0
    for c in range(x.shape[0]):
        for i in range(size):
            for t in range(max(-radius, -i), min(radius, size - 1 - i) + 1):
                _add_scaled(spare[c, i], kernel[t + radius], x[c, i + t])
    x[:] = 0
    for c in range(x.shape[0]):
        for i in range(size):
            for t in range(-min(radius, size - 1), min(radius, size - 1) + 1):
                start, stop = max(0, -t), min(size, size - t)
                source = spare[c, i, start + t : stop + t]
                _add_scaled(x[c, i, start:stop], kernel[t + radius], source)


@compiled
def _solarize(x):  # type: ignore[no-untyped-def]
    flat = x.reshape(-1)
    for i in range(len(flat)):
        flat[i] = flat[i] if flat[i] < np.float32(0.5) else np.float32(1) - flat[i]
