"""Settings of every command but ``byol pretrain``."""

import math
from dataclasses import dataclass, field

from BYOL.config.pretrain import PretrainConfig
from BYOL.config.tasks import TASKS
from BYOL.config.validation import COUNT, POSITIVE, SEED, check_settings, check_task
from BYOL.errors import UserError

POOLS = ("auto", "mean", "max", "token", "none")
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class ViewsConfig(PretrainConfig):
    """Settings of ``byol views``: those of a run, of which the ones about views matter.

    Args:
        out: the .png file to write; without it views.png.
        pictures: rows of the picture.
    """

    pictures: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, {"pictures": COUNT}, {})


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
        run: a run's folder, or one of its checkpoints (RUN/checkpoints/best.ckpt); or a backbone
            without a run: what byol export wrote, hf-hub:OWNER/NAME, or local-dir:FOLDER.
        data: labelled pictures; without it, those of the run.
        layer: a part of the backbone, such as layer3 or blocks.6; without it, its output.
        pool: what becomes of a layer's places: mean, max, token (a transformer's class token), or
            auto: the mean of a layer, and the backbone's own pooling for its output.
        protocol: which measurements, separated by commas: fewshot, knn, linear (logistic
            regression), linear-sgd (the paper's), finetune, cluster, retrieval, or all that the
            labels are for. Their results go to the screen and to evaluation.json in the run's
            folder.
        labels: a CSV file of labels, with a header: first the picture's file, then its class, or
            several columns of 0 and 1, or numbers. Without it, the class folders tell; without
            DATA too, the run's own file, where it has one.
        groups: a CSV file of pictures that belong together, with a header: first the picture's
            file, then the name of its patient, camera or part. No group is on both sides where a
            part of DATA is held out to judge, and intervals are over groups. Without it, and
            without DATA, that of the run.
        task: what the labels are: classification, multilabel, regression, or auto: what they look
            like.
        epochs: of linear-sgd and finetune; without it 80 and 50, for finetune on a CPU fewer
            where there are many labels.
        batch_size: pictures at a time; without it 256, for linear-sgd 1024, fewer for small sets.
        label_shares: of the labels that finetune gets, each above 0 and at most 1.
        clusters: that cluster looks for; without it, as many as there are classes.
        neighbours: numbers of them that vote in k-NN, a column of the table each.
        temperature: of their votes; the smaller, the more the nearest decide.
        reference: other weights for the same backbone to compare with: a .safetensors or PyTorch
            file, or the folder of a run; without it timm's, if they are on this disk.
        accelerator: cpu, gpu, mps or auto.
        seed: of the few-shot draws, the splits and the intervals.
        data_root: where named data sets lie or are downloaded to.
        trust: open what the settings of a run from elsewhere, or a file of --config, name: images,
            labels, hosts. A run that you made, in its place, needs no such word.
    """

    run: str
    data: str | None = None
    layer: str | None = None
    pool: str = "auto"
    protocol: str = "fewshot,knn,linear"
    labels: str | None = None
    groups: str | None = None
    task: str = "auto"
    epochs: int | None = None
    batch_size: int | None = None
    label_shares: list[float] = field(default_factory=lambda: [0.01, 0.1, 1.0])
    clusters: int | None = None
    neighbours: list[int] = field(default_factory=lambda: [20, 200])
    temperature: float = 0.1
    reference: str | None = None
    accelerator: str = "auto"
    seed: int = 0
    data_root: str = "~/.cache/byol"
    trust: bool = False

    def __post_init__(self) -> None:
        check_settings(
            self,
            {
                **dict.fromkeys(("epochs", "batch_size", "neighbours"), COUNT),
                "clusters": (2, math.inf),
                "temperature": (1e-4, math.inf),
                "seed": SEED,
            },
            {
                "task": TASKS,
                "accelerator": ("auto", "cpu", "gpu", "mps"),
                "pool": POOLS[:-1],
            },
        )
        check_task(self.task, self.labels)
        if not self.neighbours:
            raise UserError("--neighbours is empty: give at least one number")
        for share in self.label_shares:
            if not 0 < share <= 1:
                raise UserError(
                    f"--label_shares={share} is out of range: give numbers above 0, at most 1"
                )


@dataclass(frozen=True)
class FeaturesConfig:
    """What every command that computes features can be told.

    Args:
        run: a run's folder, or one of its checkpoints (RUN/checkpoints/best.ckpt); or a backbone
            without a run: what byol export wrote, hf-hub:OWNER/NAME, or local-dir:FOLDER.
        data: pictures, or a single one; without it, those of the run.
        layer: a part of the backbone, such as layer3 or blocks.6; without it, its output.
        pool: what becomes of a layer's places: mean, max, token (a transformer's class token), none
            (a vector for every place: the grid, height × width × features), or auto: the mean of a
            layer, and the backbone's own pooling for its output.
        precision: fp32, whose features equal those of the exported weights elsewhere; or bf16 or
            fp16, which are faster and off by about a hundredth.
        split: train, test or all.
        batch_size: pictures at a time.
        workers: processes that decode files; without it, one for every core of a CPU, or half the
            cores beside a GPU.
        accelerator: cpu, gpu, mps or auto.
        data_root: where named data sets lie or are downloaded to.
        trust: open what the settings of a run from elsewhere, or a file of --config, name: images,
            labels, hosts. A run that you made, in its place, needs no such word.
    """

    run: str
    data: str | None = None
    layer: str | None = None
    pool: str = "auto"
    precision: str = "fp32"
    split: str = "all"
    batch_size: int = 256
    workers: int | None = None
    accelerator: str = "auto"
    data_root: str = "~/.cache/byol"
    trust: bool = False

    def __post_init__(self) -> None:
        check_settings(
            self,
            {"batch_size": COUNT, "workers": POSITIVE},
            {
                "pool": POOLS,
                "precision": ("fp32", "bf16", "fp16"),
                "split": ("all", "train", "test"),
                "accelerator": ("auto", "cpu", "gpu", "mps"),
            },
        )


@dataclass(frozen=True)
class EmbedConfig(FeaturesConfig):
    """Settings of ``byol embed``.

    Args:
        out: the file to write. .parquet: name, split, label and embedding in row groups; .npy: the
            vectors alone, for a memory map, beside them their names in NAME.names.parquet;
            .npz: all of it as arrays.
        dtype: float32 or float16, of the numbers in the file.
    """

    out: str = "embeddings.parquet"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, {}, {"dtype": DTYPES})


@dataclass(frozen=True)
class SweepConfig:
    """Settings of ``byol sweep``.

    Args:
        sweep: a YAML file with settings, rows, grid and seeds, as in benchmarks/sweeps.
        out: the sweep's folder; without it sweeps/ and the file's name. What is finished there is
            not run again, and what another byol sweep is at is left to it.
        trust: open what the file names: images, labels, weights, hosts. Without it a sweep may only
            name built-in images and networks.
    """

    sweep: str
    out: str | None = None
    trust: bool = False


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
        trust: open what the settings of a run from elsewhere, or a file of --config, name: images,
            labels, hosts. A run that you made, in its place, needs no such word.
    """

    run: list[str]
    data: str | None = None
    out: str | None = None
    pictures: int | None = None
    batch_size: int = 256
    accelerator: str = "auto"
    seed: int = 0
    data_root: str = "~/.cache/byol"
    trust: bool = False

    def __post_init__(self) -> None:
        check_settings(
            self,
            {"pictures": (8, COUNT[1]), "batch_size": COUNT, "seed": SEED},
            {"accelerator": ("auto", "cpu", "gpu", "mps")},
        )
