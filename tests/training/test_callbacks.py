from types import SimpleNamespace

import torch

from BYOL.evaluation.collapse.alarm import Alarm
from BYOL.training.callbacks.metrics import Gauges
from tests.conftest import tiny


def test_gauges_that_go_on_keep_all_they_compare_on_the_runs_device(tmp_path):
    """A checkpoint's values are on the CPU, those of the run's next steps are not."""
    gauges = Gauges(1, Alarm(tiny(tmp_path, tmp_path)))
    gauges.load_state_dict({**gauges.state_dict(), "shares": torch.tensor([0.5, 0.25])})
    trainer = SimpleNamespace(num_training_batches=4, accumulate_grad_batches=1, global_step=2)
    gauges.on_train_start(trainer, SimpleNamespace(device=torch.device("meta")))
    gauges.shares.append(torch.tensor(0.5, device="meta"))
    assert {share.device.type for share in gauges.shares} == {"meta"}
    assert torch.stack(list(gauges.shares)).shape == (3,)
