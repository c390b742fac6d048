from functools import partial
from types import SimpleNamespace

import torch

from BYOL.data.batch import Batch
from BYOL.evaluation.collapse.alarm import Alarm, likely_cause
from BYOL.runs.folder import RunFolder
from BYOL.training.callbacks import losses as losses_module
from BYOL.training.callbacks.broken_images import BrokenImages
from BYOL.training.callbacks.collapse import CollapseMetrics
from BYOL.training.callbacks.losses import Losses
from BYOL.training.callbacks.non_finite import NonFiniteSteps
from BYOL.training.callbacks.online import OnlineEvaluation
from tests.conftest import tiny


def test_resumed_collapse_metrics_keep_all_tensors_on_the_device_of_the_run(tmp_path):
    """The values of a checkpoint are on the CPU, those of the next steps are not."""
    metrics = CollapseMetrics(1, Alarm(partial(likely_cause, tiny(tmp_path, tmp_path))))
    metrics.load_state_dict({**metrics.state_dict(), "shares": torch.tensor([0.5, 0.25])})
    trainer = SimpleNamespace(num_training_batches=4, accumulate_grad_batches=1, global_step=2)
    metrics.on_train_start(trainer, SimpleNamespace(device=torch.device("meta")))
    metrics.shares.append(torch.tensor(0.5, device="meta"))
    assert {share.device.type for share in metrics.shares} == {"meta"}
    assert torch.stack(list(metrics.shares)).shape == (3,)


def test_checkpoints_of_earlier_versions_have_the_states_of_the_callbacks(tmp_path):
    collapse = CollapseMetrics(1, Alarm(partial(likely_cause, tiny(tmp_path, tmp_path))))
    callbacks = (
        BrokenImages(), Losses(1), collapse, NonFiniteSteps(RunFolder(tmp_path), collapse),
        OnlineEvaluation(1, lambda backbone: None),
    )  # fmt: skip
    keys = [callback.state_key for callback in callbacks]
    assert keys == ["BrokenPictures", "Curves", "Gauges", "FiniteSteps", "OnlineChecks"]


def test_a_row_of_losses_on_both_sides_of_a_resumption_with_other_parts_is_their_mean(monkeypatch):
    rows = []
    monkeypatch.setattr(losses_module, "log_values", lambda trainer, row: rows.append(row))
    module, state = SimpleNamespace(device=torch.device("cpu")), None
    for step, parts in ((1, 4), (2, 1)):  # a loss of 3 per image, in four parts, then in one
        losses = Losses(2)
        if state:
            losses.load_state_dict(state)
        trainer = SimpleNamespace(
            accumulate_grad_batches=parts, global_step=step, is_last_batch=False, current_epoch=0,
            optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])],
        )  # fmt: skip
        for part in range(parts):
            losses.on_train_batch_end(
                trainer, module, {"loss": torch.tensor(3.0 / parts)}, None, part
            )
        state = losses.state_dict()
    assert [row["loss"] for row in rows] == [3.0]


def test_an_unreadable_image_is_logged_once_and_every_name_is_kept(lines):
    broken = BrokenImages()
    for names in ([], ["a.png"], ["b.png", "a.png"]):
        broken.on_train_batch_end(None, None, None, Batch(0, torch.zeros(1), broken=names), 0)
    assert lines() == ["warning: a.png cannot be read: the next image replaces it"]
    assert broken.state_dict() == {"names": ["a.png", "b.png"]}
