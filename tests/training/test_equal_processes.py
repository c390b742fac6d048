"""Two gloo processes with every predictor, norm, small views and accumulation equal one process."""

import itertools

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from BYOL.byol import BYOL
from BYOL.model.heads import PREDICTORS
from BYOL.model.sync_batchnorm import synchronise_batchnorm
from BYOL.training.module import batch_loss
from BYOL.training.optimizers import build_optimizer

pytestmark = pytest.mark.trains

NO_KINDS: tuple[str, ...] = ()  # of views with a predictor of their own
OWN = ("small", "cutout")
COMBINATIONS = [
    *itertools.product(
        PREDICTORS, ("bn", "gn-ws"), ("batch", "running"), (0, 2), (1, 2), [NO_KINDS]
    ),
    *itertools.product(("mlp", "optimal", "directpred"), ["bn"], ["batch"], [2], (1, 2), [OWN]),
]
BATCH, STEPS = 24, 3


class Step(nn.Module):
    """The forward pass of a training step, as Lightning wraps it for several processes."""

    def __init__(self, model: BYOL):
        super().__init__()
        self.model = model

    def forward(self, views: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
        kinds = OWN[: len(small)]
        return batch_loss(self.model, views[0], views[1], list(small), kinds)[0]


def train(combination: tuple, rank: int, world: int) -> dict[str, torch.Tensor]:
    predictor, norm, target_norm, small, accumulate, own = combination
    torch.manual_seed(0)
    backend = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3)
    )
    model = BYOL(12, 16, 5, backend=backend, predictor=predictor, norm=norm,
                 target_norm=target_norm, view_predictors=own, t=0.8).double()  # fmt: skip
    step: nn.Module = Step(model)
    if world > 1:
        step = DistributedDataParallel(Step(synchronise_batchnorm(model, "cpu")))
    optimizer = build_optimizer("sgd", model, lr=0.05, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        for _ in range(accumulate):
            views = torch.randn(2, BATCH, 3, 9, 9, generator=generator).double()
            crops = torch.randn(small, BATCH, 3, 7, 7, generator=generator).double()
            mine = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
            (step(views[:, mine], crops[:, mine]) / accumulate).backward()
        optimizer.step()
        optimizer.zero_grad()
        model.updateTargetNetwork()
    return {name: v.clone() for name, v in model.state_dict().items() if v.is_floating_point()}


def _process(rank: int, file: str, answers) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    states = [train(combination, rank, 2) for combination in COMBINATIONS]
    if rank == 0:
        answers.extend(states)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one_for_every_combination(tmp_path):
    answers = mp.get_context("spawn").Manager().list()
    mp.spawn(_process, (str(tmp_path / "meet"), answers), nprocs=2)
    assert len(answers) == len(COMBINATIONS) == 7 * 16 + 6
    for combination, two in zip(COMBINATIONS, answers, strict=True):
        one = train(combination, 0, 1)
        assert one.keys() == two.keys()
        for name, value in one.items():
            # statistics of predictors are float32
            torch.testing.assert_close(
                two[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, c=combination: f"{c}: {m}"
            )
