"""Settings of every command but ``byol pretrain``."""

from dataclasses import dataclass

from BYOL.config.checks import COUNT, SEED, check_settings
from BYOL.config.pretrain import PretrainConfig


@dataclass(frozen=True)
class ViewsConfig(PretrainConfig):
    """Settings of ``byol views``: those of a run, of which the ones about views matter.

    Args:
        out: the .png file to write; without it views.png.
        pictures: rows of the picture.
    """

    pictures: int = 8


@dataclass(frozen=True)
class BenchmarkConfig(PretrainConfig):
    """Settings of ``byol benchmark``: those of the run whose speed is in question.

    Args:
        seconds: about how long each part is measured.
    """

    seconds: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, {"seconds": (0.1, 3600.0)}, {})


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of ``byol evaluate``.

    Args:
        run: a run's folder.
        data: labelled pictures; without it, those of the run.
        protocol: which measurements, separated by commas: fewshot, knn, linear. Their results go
            to the screen and to evaluation.json in the run's folder.
        batch_size: pictures at a time.
        accelerator: cpu, gpu, mps or auto.
        seed: of the few-shot draws and the splits.
        data_root: where named data sets lie or are downloaded to.
    """

    run: str
    data: str | None = None
    protocol: str = "fewshot,knn,linear"
    batch_size: int = 256
    accelerator: str = "auto"
    seed: int = 0
    data_root: str = "~/.cache/byol"


@dataclass(frozen=True)
class EmbedConfig:
    """Settings of ``byol embed``.

    Args:
        run: a run's folder.
        data: pictures; without it, those of the run.
        out: the file to write, .parquet or .npz.
        split: train, test or all.
        batch_size: pictures at a time.
        accelerator: cpu, gpu, mps or auto.
        data_root: where named data sets lie or are downloaded to.
    """

    run: str
    data: str | None = None
    out: str = "embeddings.parquet"
    split: str = "all"
    batch_size: int = 256
    accelerator: str = "auto"
    data_root: str = "~/.cache/byol"


@dataclass(frozen=True)
class ExportConfig:
    """Settings of ``byol export``.

    Args:
        run: a run's folder.
        to: the file to write, .safetensors or .pth.
    """

    run: str
    to: str = "backbone.safetensors"


@dataclass(frozen=True)
class ReportConfig:
    """Settings of ``byol report``.

    Args:
        run: a run's folder, or several to be compared.
        data: where the pictures are, if not where the run found them.
        out: the .html file to write; without it report.html in the run's folder, or compare.html.
        pictures: most pictures of each set to look at; without it 5,000 small or 1,000 large ones.
        batch_size: pictures at a time.
        accelerator: cpu, gpu, mps or auto.
        seed: of the queries and of the choice of pictures.
        data_root: where named data sets lie or are downloaded to.
    """

    run: list[str]
    data: str | None = None
    out: str | None = None
    pictures: int | None = None
    batch_size: int = 256
    accelerator: str = "auto"
    seed: int = 0
    data_root: str = "~/.cache/byol"

    def __post_init__(self) -> None:
        check_settings(
            self,
            {"pictures": (8, COUNT[1]), "batch_size": COUNT, "seed": SEED},
            {"accelerator": ("auto", "cpu", "gpu", "mps")},
        )
