"""Steps whose gradient is not finite are skipped with every kind of optimizer."""

from types import SimpleNamespace

import pytest
import torch

from BYOL.training.callbacks.non_finite import NonFiniteSteps
from BYOL.training.lars import LARS
from BYOL.training.optimizers import _zero_momentum

OPTIMIZERS = {
    "fused SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "fused AdamW": lambda p: torch.optim.AdamW(p, 0.1, fused=True),
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "LARS": lambda p: LARS(p, lr=0.1),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_first_step_may_be_skipped_and_the_next_are_as_if_it_had_not_been(kind, tmp_path):
    """PyTorch's fused SGD alone continues from uninitialised memory."""

    def weights(gradients):
        module = torch.nn.Linear(40, 30)
        torch.nn.init.eye_(module.weight)
        torch.nn.init.zeros_(module.bias)
        optimizer = OPTIMIZERS[kind](module.parameters())
        if kind == "fused SGD":
            _zero_momentum(optimizer)
        steps = NonFiniteSteps(tmp_path, None)
        module.device = torch.device("cpu")
        steps.on_train_start(None, module)
        for gradient in gradients:
            for p in module.parameters():
                p.grad = torch.full_like(p, gradient)
            steps.on_before_optimizer_step(SimpleNamespace(), module, optimizer)
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in module.parameters()]), int(steps.count)

    skipped, count = weights([float("nan"), 1.0, 0.5])
    assert count == 1 and skipped.isfinite().all()
    torch.testing.assert_close(skipped, weights([1.0, 0.5])[0])
