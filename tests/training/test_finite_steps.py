"""Steps whose gradient is not finite, as each kind of optimizer is kept from taking them."""

from types import SimpleNamespace

import pytest
import torch

from BYOL.training.callbacks.checkpoint import FiniteSteps
from BYOL.training.lars import LARS
from BYOL.training.optimizers import _at_rest

OPTIMIZERS = {
    "fused SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "fused AdamW": lambda p: torch.optim.AdamW(p, 0.1, fused=True),
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "LARS": lambda p: LARS(p, lr=0.1),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_first_step_may_be_skipped_and_the_next_are_as_if_it_had_not_been(kind, tmp_path):
    """PyTorch's fused SGD, left to itself, goes on from memory that was never written."""

    def weights(gradients):
        module = torch.nn.Linear(40, 30)
        torch.nn.init.eye_(module.weight)
        torch.nn.init.zeros_(module.bias)
        optimizer = OPTIMIZERS[kind](module.parameters())
        if kind == "fused SGD":
            _at_rest(optimizer)
        finite = FiniteSteps(pytest.fail, tmp_path, None)
        module.device = torch.device("cpu")
        finite.on_train_start(None, module)
        for gradient in gradients:
            for p in module.parameters():
                p.grad = torch.full_like(p, gradient)
            finite.on_before_optimizer_step(SimpleNamespace(), module, optimizer)
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in module.parameters()]), int(finite.count)

    skipped, count = weights([float("nan"), 1.0, 0.5])
    assert count == 1 and skipped.isfinite().all()
    torch.testing.assert_close(skipped, weights([1.0, 0.5])[0])
