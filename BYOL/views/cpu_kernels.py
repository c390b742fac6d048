"""Views of one image at a time, compiled for the CPU by numba.

The operations are those of ``ops.py`` and ``crop_resize.py``; a test checks that the results are
equal. Here an image stays in the CPU cache through all operations, which a chain of batched tensor
operations does not achieve. Functions work in place on ``x``, (C, S, S) float32 in [0, 1].
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compile ``function`` to machine code, cached on disk if a cache folder is writable."""
    settings: dict[str, Any] = {"fastmath": True, "nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **settings)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache is writable
        return njit(**settings)(function)


@compiled
def fill_views(images, unit, cropped, boxes, cutouts, params, kernels, mean, scale, out):  # type: ignore[no-untyped-def]
    """Write a view of every image into ``out``.

    Args:
        images: (B, C, H, W) uint8, or float32 in [0, 1].
        unit: float32 factor that scales ``images`` to [0, 1]: 1/255, or 1.
        cropped: whether to crop to ``boxes``. If False, H = W = S.
        boxes: (B, 4) int64 top, left, height, width.
        cutouts: (B, 4) int64 boxes of the view that are filled with ``mean``; 0 for none.
        params: (flags, sequence, values). ``flags`` is (B, 6) bool: flip, vertical flip, jitter,
            grey, blur, solarize. ``sequence`` is (B, 4) int64: the colour operations from first to
            last. ``values`` is (B, 6) float32: brightness, contrast, saturation, hue, sine and
            cosine of the rotation.
        kernels: (B, 2r + 1) float32 blur kernels.
        mean: (C,) float32.
        scale: (C,) float32, 1 / std.
        out: (B, S, S, C) float32 result.
    """
    flags, sequence, values = params
    size, channels = out.shape[1], out.shape[3]
    x = np.empty((channels, size, size), np.float32)
    scratch = np.empty_like(x)
    rows = np.empty((size, max(images.shape[3], size)), np.float32)
    columns = np.empty((images.shape[3], size), np.float32)
    for b in range(len(images)):
        if cropped:
            _crop_resize(images[b], unit, boxes[b], rows, columns, x)
        else:
            _to_unit_range(images[b], unit, x)
        if flags[b, 0]:
            x[:] = x[:, :, ::-1].copy()
        if flags[b, 1]:
            x[:] = x[:, ::-1].copy()
        if values[b, 4] != 0:
            _rotate(x, values[b, 4], values[b, 5], scratch)
        top, left, height, width = cutouts[b]
        for c in range(channels):
            x[c, top : top + height, left : left + width] = mean[c]
        if flags[b, 2]:
            _jitter(x, sequence[b], values[b])
        if flags[b, 3] and channels == 3:
            _grey(x)
        if flags[b, 4]:
            _blur(x, kernels[b], scratch)
        if flags[b, 5]:
            _solarize(x)
        for c in range(channels):
            centre, factor = mean[c], scale[c]
            for i in range(size):
                for j in range(size):
                    out[b, i, j, c] = (x[c, i, j] - centre) * factor


@compiled
def _clipped(value):  # type: ignore[no-untyped-def]
    return min(max(value, np.float32(0)), np.float32(1))


@compiled
def _to_unit_range(image, unit, x):  # type: ignore[no-untyped-def]
    channels, height, width = image.shape
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                x[c, i, j] = image[c, i, j] * unit


@compiled
def _taps(start, length, size):  # type: ignore[no-untyped-def]
    """Return the first input pixel and the weights of every output pixel.

    The kernel is that of :func:`BYOL.views.crop_resize.resize_weights`.
    """
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
    """Compute row += weight * source in a form that the compiler vectorizes."""
    for j in range(len(row)):
        row[j] += weight * source[j]


@compiled
def _crop_resize(image, unit, box, rows, columns, x):  # type: ignore[no-untyped-def]
    """Resize ``box`` of ``image`` into ``x``.

    The vertical pass comes first. The horizontal pass runs on the transpose, so that both passes
    read contiguous rows.
    """
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
                _add_scaled(row, down[i, t] * unit, source)
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
    """Mirror a coordinate beyond the border at the outer edge of the border pixel."""
    span = position + 0.5
    periods = math.floor(span / size)
    inside = span - periods * size
    inside = inside if periods % 2 == 0 else size - inside
    return min(max(inside - 0.5, 0.0), size - 1.0)


@compiled
def _rotate(x, sine, cosine, scratch):  # type: ignore[no-untyped-def]
    channels, size = x.shape[0], x.shape[1]
    centre = (size - 1) / 2
    scratch[:] = x
    for i in range(size):
        for j in range(size):
            u, v = j - centre, i - centre
            column = _reflected(cosine * u - sine * v + centre, size)
            row = _reflected(sine * u + cosine * v + centre, size)
            j0, i0 = int(column), int(row)
            j1, i1 = min(j0 + 1, size - 1), min(i0 + 1, size - 1)
            q, p = np.float32(column - j0), np.float32(row - i0)
            for c in range(channels):
                above = scratch[c, i0, j0] + q * (scratch[c, i0, j1] - scratch[c, i0, j0])
                below = scratch[c, i1, j0] + q * (scratch[c, i1, j1] - scratch[c, i1, j0])
                x[c, i, j] = _clipped(above + p * (below - above))


@compiled
def _jitter(x, sequence, values):  # type: ignore[no-untyped-def]
    for operation in sequence:
        if operation == 0:
            _brightness(x, values[0])
        elif operation == 1:
            _contrast(x, values[1])
        elif x.shape[0] == 3:
            planes = x.reshape(3, -1)
            if operation == 2:
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
        offset = total / np.float32(len(plane)) * (np.float32(1) - factor)
        for i in range(len(plane)):
            plane[i] = _clipped(factor * plane[i] + offset)


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
def _hue(r, g, b, shift):  # type: ignore[no-untyped-def]
    six, three, one = np.float32(6), np.float32(3), np.float32(1)
    for i in range(len(r)):
        value = max(max(r[i], g[i]), b[i])
        chroma = value - min(min(r[i], g[i]), b[i])
        inverse = one / max(chroma, np.float32(1e-12))
        from_blue = (r[i] - g[i]) * inverse + np.float32(4)
        from_green = (b[i] - r[i]) * inverse + np.float32(2)
        from_red = (g[i] - b[i]) * inverse
        sextant = from_green if value == g[i] else from_blue
        sextant = (from_red if value == r[i] else sextant) + shift
        sextant -= six * np.floor(sextant * (one / six))
        # A channel is 1 around its own hue (0 red, 2 green, 4 blue) and 0 at the opposite hue.
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
def _blur(x, kernel, scratch):  # type: ignore[no-untyped-def]
    """Blur vertically, then horizontally, with zeros beyond the border."""
    radius, size = len(kernel) // 2, x.shape[1]
    scratch[:] = 0
    for c in range(x.shape[0]):
        for i in range(size):
            for t in range(max(-radius, -i), min(radius, size - 1 - i) + 1):
                _add_scaled(scratch[c, i], kernel[t + radius], x[c, i + t])
    x[:] = 0
    for c in range(x.shape[0]):
        for i in range(size):
            for t in range(-min(radius, size - 1), min(radius, size - 1) + 1):
                start, stop = max(0, -t), min(size, size - t)
                source = scratch[c, i, start + t : stop + t]
                _add_scaled(x[c, i, start:stop], kernel[t + radius], source)


@compiled
def _solarize(x):  # type: ignore[no-untyped-def]
    flat = x.reshape(-1)
    for i in range(len(flat)):
        flat[i] = flat[i] if flat[i] < np.float32(0.5) else np.float32(1) - flat[i]
