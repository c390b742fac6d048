"""Exact t-SNE (van der Maaten and Hinton, 2008) for the few points of an embedding map.

For 1,000 points a matrix of all pairs is faster than the trees of scikit-learn's implementation,
whose import alone takes a second of processor time.
"""

import math

import torch
from torch import Tensor

_EXAGGERATION = 12.0  # of the similarities in the first phase
_ITERATIONS, _EXAGGERATED = 300, 100  # in all, and in the first phase
_SEARCH = 30  # bisections of the bandwidths
_GAIN_UP, _GAIN_DOWN, _MIN_GAIN = 0.2, 0.8, 0.01


def tsne(features: Tensor, start: Tensor, perplexity: float) -> Tensor:
    """Return positions (n, 2) in which near points are those with similar features.

    Step size, momentum and gains are those of scikit-learn.

    Args:
        features: (n, d).
        start: (n, 2) initial positions, small.
        perplexity: effective number of neighbours of a point; less than n.
    """
    n = len(features)
    similarities = _similarities(features, perplexity)
    step = max(n / _EXAGGERATION / 4, 50.0)
    points = torch.cat([start.float(), torch.ones(n, 1)], dim=1)
    position = points[:, :2]
    velocity, gains = torch.zeros_like(position), torch.ones_like(position)
    weights, attraction = torch.empty(n, n), torch.empty(n, n)
    for i in range(_ITERATIONS):
        exaggerated = i < _EXAGGERATED
        squares = position.square().sum(dim=1)
        torch.addmm(squares, position, position.T, alpha=-2, out=weights)
        weights.add_(squares[:, None] + 1).reciprocal_().fill_diagonal_(0)
        torch.mul(similarities, weights, out=attraction)
        total = weights.sum()
        pull, push = attraction @ points, weights.square_() @ points
        force = pull * (_EXAGGERATION if exaggerated else 1.0) - push / total
        gradient = 4 * (force[:, 2:] * position - force[:, :2])
        same = gradient.sign() == velocity.sign()
        gains = torch.where(same, gains * _GAIN_DOWN, gains + _GAIN_UP).clamp_(min=_MIN_GAIN)
        velocity.mul_(0.5 if exaggerated else 0.8).sub_(step * gains * gradient)
        position += velocity
    return position.clone()


def _similarities(features: Tensor, perplexity: float) -> Tensor:
    """Return the symmetric similarities (n, n) of the points, whose sum is 1.

    The bandwidth of each point is found by bisection, so that the entropy of its similarities is
    the logarithm of ``perplexity``. The nearest three times ``perplexity`` points are enough.
    """
    n = len(features)
    distances = torch.cdist(features.float(), features.float()).square().fill_diagonal_(math.inf)
    near, indices = distances.topk(min(math.ceil(3 * perplexity) + 1, n - 1), largest=False)
    near = near - near[:, :1]
    # Precision of each point, between two bounds.
    low, high = torch.zeros(n, 1), torch.full((n, 1), math.inf)
    precision = 1 / near.mean(dim=1, keepdim=True).clamp(min=1e-12)
    for _ in range(_SEARCH):
        p = torch.softmax(-near * precision, dim=1)
        entropy = torch.special.entr(p).sum(dim=1, keepdim=True)
        wide = entropy > math.log(perplexity)
        low, high = torch.where(wide, precision, low), torch.where(wide, high, precision)
        precision = torch.where(high.isinf(), precision * 2, (low + high) / 2)
    p = torch.zeros(n, n).scatter_(1, indices, torch.softmax(-near * precision, dim=1))
    return (p + p.T) / (2 * n)
