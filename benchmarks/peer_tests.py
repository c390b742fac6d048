"""Run the unit tests of lightly and solo-learn for what BYOL also has against BYOL's functions.

    git clone https://github.com/lightly-ai/lightly
    git clone https://github.com/vturrisi/solo-learn
    python benchmarks/peer_tests.py --lightly lightly --solo-learn solo-learn

The tests are read from the checkouts and not changed. Their imports of ``lightly`` and ``solo`` get
the adapters below. A failure must have a reason in ``REASONS``; the exit code is 1 if one has none.
"""

import argparse
import collections
import fnmatch
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from BYOL.evaluation.protocols import knn
from BYOL.model.loss import criterion, regression_loss
from BYOL.model.networks import Network, TargetNetwork
from BYOL.model.schedules import learning_rate
from BYOL.utils import MultiViewDataInjector, get_byol_transforms
from BYOL.views import ops

TESTS = {  # peer → path in its checkout → pattern of the tests
    "lightly": {
        "tests/loss/test_negative_cosine_similarity.py": "*",
        "tests/loss/test_sym_neg_cos_sim_loss.py": "*",
        "tests/models/test_ModelUtils.py": "*momentum*",
        "tests/transforms/test_Solarize.py": "*",
        "tests/transforms/test_byol_transform.py": "*",
        "tests/transforms/test_gaussian_blur.py": "*",
        "tests/utils/benchmarking/test_knn.py": "*",
        "tests/utils/test_scheduler.py": "*",
    },
    "solo-learn": {
        "tests/losses/test_byol.py": "*",
        "tests/losses/test_simsiam.py": "*",
        "tests/utils/test_knn.py": "*",
        "tests/data/test_pretrain_dataloader.py": "*test_transforms",
    },
}
_CHECKS = "our schedules do not check their arguments, which the settings of a run do"
_PERIOD = "our schedules have no period; a schedule of 0 or 1 steps"
REASONS = {  # pattern of a test → why it fails
    "*test_*_schedule__error*": _CHECKS,
    "*warn_step_exceeds_max_steps*": "beyond the end we return the end value without a warning",
    "*test_cosine*_schedule*": _PERIOD,
    "*TestCosineWarmupScheduler*": _PERIOD,
    "*deprecation*": "deprecated arguments of lightly's own",
    "*utils/test_knn.py::test_knn": "our k-NN has the cosine only, no Euclidean distance",
}


def cosine_schedule(
    step: int, max_steps: int, start_value: float, end_value: float, period: int | None = None
) -> float:
    """Return BYOL's cosine; lightly's n steps end at step n - 1, and BYOL's at n."""
    if period is not None:
        raise NotImplementedError("our schedules have no period")
    return end_value + (start_value - end_value) * learning_rate(step, max_steps - 1, 0, 1.0, 256)


def cosine_warmup_schedule(
    step: int, max_steps: int, start_value: float, end_value: float, warmup_steps: int,
    warmup_start_value: float, warmup_end_value: float | None = None, period: int | None = None,
) -> float:  # fmt: skip
    if step < warmup_steps:
        end = start_value if warmup_end_value is None else warmup_end_value
        return linear_warmup_schedule(step + 1, warmup_steps, warmup_start_value, end)
    rest = (step - warmup_steps, max_steps - warmup_steps)
    return cosine_schedule(*rest, start_value, end_value, period)


def linear_warmup_schedule(
    step: int, warmup_steps: int, start_value: float, end_value: float
) -> float:
    share = learning_rate(min(step, warmup_steps), warmup_steps + 1, warmup_steps, 1.0, 256)
    return start_value + (end_value - start_value) * share


class CosineWarmupScheduler(torch.optim.lr_scheduler.LambdaLR):
    """The warm-up and cosine of BYOL as lightly's scheduler."""

    def __init__(self, optimizer: Any, max_epochs: int, warmup_epochs: int, **settings: Any):
        super().__init__(
            optimizer,
            lambda step: cosine_warmup_schedule(
                step, max_steps=max_epochs, warmup_steps=warmup_epochs, **settings
            ),
        )


class NegativeCosineSimilarity:
    """BYOL's loss as lightly's negative cosine."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return regression_loss(x, y).mean() / 2 - 1


class SymNegCosineSimilarityLoss:
    """BYOL's symmetric loss as lightly's."""

    _neg_cosine_simililarity = NegativeCosineSimilarity()

    def __call__(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
        (z, p), (z1, p1) = first, second
        return criterion(p, z1, p1, z) / 4 - 1


def update_momentum(model: nn.Module, model_ema: nn.Module, m: float) -> None:
    target = TargetNetwork(Network(model, nn.Identity()))
    target.backend = model_ema
    target.follow(Network(model, nn.Identity()), 1 - m)


def knn_predict(
    feature: Tensor, feature_bank: Tensor, feature_labels: Tensor, num_classes: int,
    knn_k: int, knn_t: float = 0.1,
) -> Tensor:  # fmt: skip
    scores = knn.knn_predict(
        feature_bank.T, feature_labels, feature, k=knn_k, temperature=knn_t, classes=num_classes
    )
    return scores.argsort(dim=1, descending=True, stable=True)


class WeightedKNNClassifier:
    """BYOL's k-NN as solo-learn's metric."""

    def __init__(self, k: int, distance_fx: str, max_distance_matrix_size: int):
        if distance_fx != "cosine":
            raise NotImplementedError("our k-NN has the cosine only")
        self.k = k

    def update(self, **features: Tensor) -> None:
        self.features = features

    def compute(self) -> tuple[float, float]:
        f = self.features
        scores = knn.knn_predict(f["train_features"], f["train_targets"], f["test_features"],
                                 k=self.k, temperature=0.07)  # fmt: skip
        ranks = scores.argsort(dim=1, descending=True) == f["test_targets"][:, None]
        return tuple(100 * float(ranks[:, :n].any(1).float().mean()) for n in (1, 5))  # type: ignore[return-value]


class GaussianBlur:
    """BYOL's blur as lightly's transform."""

    def __init__(self, **settings: Any):
        if settings:
            raise TypeError(f"unknown: {', '.join(settings)}")

    def __call__(self, image: Any) -> Tensor:
        x = image if isinstance(image, Tensor) else pil_to_tensor(image) / 255
        return ops.blur(x[None], torch.tensor([1.0]))[0]


class RandomSolarization:
    """BYOL's solarization as lightly's transform."""

    def __init__(self, prob: float):
        self.prob = prob

    def __call__(self, image: Any) -> Tensor:
        x = pil_to_tensor(image) / 255
        return ops.solarize(x) if torch.rand(()) < self.prob else x


def view(number: int) -> Any:
    """Return a function that builds the first or the second view of the paper."""
    return lambda input_size: get_byol_transforms(input_size, [0.5] * 3, [0.25] * 3)[number]


class Config(dict):  # type: ignore[type-arg]
    """A dictionary with attributes, in place of omegaconf's."""

    __setattr__ = dict.__setitem__

    def __getattr__(self, name: str) -> Any:
        value = self[name]
        return Config(value) if type(value) is dict else value


def build_transform_pipeline(dataset: str, cfg: Config) -> Any:
    jitter = cfg.color_jitter
    changes = {name: jitter[name] for name in ("brightness", "contrast", "saturation", "hue")}
    return get_byol_transforms(
        cfg.crop_size, [0.5] * 3, [0.25] * 3, jitter=jitter.prob, grey=cfg.grayscale.prob,
        blur=cfg.gaussian_blur.prob, solarize=cfg.solarization.prob, flip=cfg.horizontal_flip.prob,
        crop_scale=(cfg.rrc.crop_min_scale, cfg.rrc.crop_max_scale), **changes,
    )[0]  # fmt: skip


ADAPTERS: dict[str, dict[str, Any]] = {
    "lightly.loss": {
        "NegativeCosineSimilarity": NegativeCosineSimilarity,
        "SymNegCosineSimilarityLoss": SymNegCosineSimilarityLoss,
    },
    "lightly.models.utils": {"update_momentum": update_momentum},
    "lightly.transforms.byol_transform": {
        "BYOLView1Transform": view(0),
        "BYOLView2Transform": view(1),
        "BYOLTransform": lambda view_1_transform, view_2_transform: MultiViewDataInjector(
            [view_1_transform, view_2_transform]
        ),
    },
    "lightly.transforms.gaussian_blur": {"GaussianBlur": GaussianBlur},
    "lightly.transforms.solarize": {"RandomSolarization": RandomSolarization},
    "lightly.utils.benchmarking.knn": {"knn_predict": knn_predict},
    "lightly.utils.scheduler": {
        "cosine_schedule": cosine_schedule,
        "cosine_warmup_schedule": cosine_warmup_schedule,
        "linear_warmup_schedule": linear_warmup_schedule,
        "CosineWarmupScheduler": CosineWarmupScheduler,
    },
    "solo.losses": {
        "byol_loss_func": lambda p, z, simplified=True: regression_loss(p, z).mean(),
        "simsiam_loss_func": lambda p, z, simplified=True: regression_loss(p, z).mean() / 2 - 1,
    },
    "solo.utils.knn": {"WeightedKNNClassifier": WeightedKNNClassifier},
    "solo.data.pretrain_dataloader": {
        "build_transform_pipeline": build_transform_pipeline,
        "prepare_n_crop_transform": lambda transforms, num_crops_per_aug: MultiViewDataInjector(
            [t for t, n in zip(transforms, num_crops_per_aug, strict=True) for _ in range(n)]
        ),
        "NCropAugmentation": lambda transform, n: MultiViewDataInjector([transform] * n),
        "FullTransformPipeline": lambda parts: lambda image: [x for p in parts for x in p(image)],
    },
    "omegaconf": {"OmegaConf": type("OmegaConf", (), {"create": Config})},
    "pytest_mock": {},
}


class Adapter(ModuleType):
    """A module of a peer. Names without an adapter can be imported and not used."""

    __path__: ClassVar[list[str]] = []  # a package, to the import system

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def install_adapters() -> None:
    """Put the adapters in place of the peers' packages."""
    for path, names in ADAPTERS.items():
        parts = path.split(".")
        for n in range(1, len(parts) + 1):
            name = ".".join(parts[:n])
            sys.modules.setdefault(name, Adapter(name))
            if n > 1:
                setattr(sys.modules[".".join(parts[: n - 1])], parts[n - 1], sys.modules[name])
        vars(sys.modules[path]).update(names)


class Outcomes:
    """A pytest plugin that selects tests and keeps their outcomes."""

    def __init__(self, patterns: dict[str, str]):
        self.patterns = patterns
        self.outcomes: list[tuple[str, str]] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        def selected(item: Any) -> bool:
            path, _, name = item.nodeid.partition("::")
            return fnmatch.fnmatch(name, self.patterns[path])

        items[:] = [item for item in items if selected(item)]

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.append((report.nodeid, report.outcome))


def run(peer: str, checkout: Path) -> list[tuple[str, str]]:
    """Return name and outcome of every selected test of ``peer``."""
    sys.dont_write_bytecode = True
    install_adapters()
    torch.manual_seed(0)
    plugin = Outcomes(TESTS[peer])
    files = [str(checkout / path) for path in TESTS[peer]]
    settings = ["-q", "--noconftest", "-c", "/dev/null", f"--rootdir={checkout}", "--tb=line"]
    off = [f"-pno:{name}" for name in ("cacheprovider", "randomly", "xdist", "hypothesispytest")]
    if pytest.main([*settings, *off, *files], plugins=[plugin]) not in (0, 1):
        raise SystemExit(f"pytest could not run the tests of {peer} in {checkout}")
    return plugin.outcomes


def reason(test: str) -> str | None:
    return next((why for name, why in REASONS.items() if fnmatch.fnmatch(test, name)), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for peer in TESTS:
        parser.add_argument(f"--{peer}", type=Path, help=f"checkout of {peer}")
    arguments = vars(parser.parse_args())
    rows, unexplained = [], []
    for peer in TESTS:
        checkout = arguments[peer.replace("-", "_")]
        if checkout is None:
            continue
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            outcomes = process.submit(run, peer, checkout.resolve()).result()
        for path in TESTS[peer]:
            found = [(test, how) for test, how in outcomes if test.startswith(path)]
            counts = collections.Counter(how for _, how in found)
            failures = [test for test, how in found if how == "failed"]
            unexplained += [test for test in failures if not reason(test)]
            why = "; ".join(dict.fromkeys(filter(None, map(reason, failures))))
            rows.append(f"| {peer} `{path}` | {counts['passed']} | {counts['failed']} | "
                        f"{counts['skipped']} | {why} |")  # fmt: skip
    print("| tests | passed | failed | skipped (no CUDA) | why they fail |\n|---|---|---|---|---|")
    print("\n".join(rows))
    for test in unexplained:
        print(f"without a reason: {test}")
    return bool(unexplained)


if __name__ == "__main__":
    raise SystemExit(main())
