"""The model trains in Lightning's "true" precisions, which change torch's default type."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from BYOL.byol import BYOL
from BYOL.model.schedules import tau
from BYOL.training.optimizers import build_optimizer
from BYOL.utils import criterion, get_byol_transforms

pytestmark = pytest.mark.trains


class Learner(pl.LightningModule):
    def __init__(self, **settings):
        super().__init__()
        self.settings = settings
        self.t, self.t1, _ = get_byol_transforms(8, [0.5] * 3, [0.25] * 3, rotate=10.0)
        self.losses: list[torch.Tensor] = []

    def configure_model(self):  # Lightning calls it under the default type of its precision
        if not hasattr(self, "model"):
            self.model = BYOL(128, 32, 8, backend="plain5", t=0.99, **self.settings)
            self.start = [p.detach().clone() for p in self.model.targetNet.parameters()]

    def training_step(self, batch, batch_idx):
        onlinex, onlinex1, targetx, targetx1 = self.model(self.t(batch), self.t1(batch))
        loss = criterion(onlinex, targetx1, onlinex1, targetx)
        self.losses.append(loss.detach())
        return loss

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
        step = self.trainer.global_step
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.model.updateTargetNetwork(tau(step, 8, 0.99))

    def configure_optimizers(self):
        return build_optimizer("sgd", self.model, lr=0.05, weight_decay=0.0)


@pytest.mark.filterwarnings("ignore:Found .* in eval mode")  # the target network
@pytest.mark.parametrize(
    ("precision", "dtype", "predictor"),
    [
        ("bf16-true", torch.bfloat16, "mlp"),
        ("bf16-true", torch.bfloat16, "directcopy"),
        ("16-true", torch.float16, "mlp"),  # slow on a CPU
        ("64-true", torch.float64, "optimal"),
    ],
)
def test_a_model_trains_in_a_true_precision(precision, dtype, predictor, tmp_path):
    torch.manual_seed(0)
    images = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8)
    learner = Learner(predictor=predictor)
    trainer = pl.Trainer(
        max_epochs=2, precision=precision, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(learner, DataLoader(images, batch_size=4, drop_last=True))
    model = learner.model
    assert len(learner.losses) == 8 and all(loss.isfinite() for loss in learner.losses)
    for network in (model.onlineNet.backend, model.targetNet.backend):
        assert {p.dtype for p in network.parameters()} == {dtype}
    moved = [
        (p != before).float().mean() for p, before in zip(
            model.targetNet.backend.parameters(), learner.start, strict=False
        )
    ]  # fmt: skip
    stored = model.targetNet.state_dict()
    assert float(torch.stack(moved).mean()) > (0.5 if dtype == torch.float64 else 0.02)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=False)["state_dict"]
    assert all(torch.equal(v, content[f"model.targetNet.{k}"]) for k, v in stored.items())
    again = BYOL(128, 32, 8, backend="plain5", predictor=predictor).to(dtype)
    again.load_state_dict({k.removeprefix("model."): v for k, v in content.items()})
    for _ in range(3):
        again.updateTargetNetwork(0.99)
        model.updateTargetNetwork(0.99)
    for name, value in again.targetNet.state_dict().items():
        assert torch.equal(value, model.targetNet.state_dict()[name])
