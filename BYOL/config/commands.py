"""Settings of every command but ``byol pretrain``."""

from dataclasses import dataclass
from typing import Literal

from BYOL.config.fields import Settings, setting
from BYOL.config.pretrain import PretrainConfig
from BYOL.config.validation import check_task
from BYOL.errors import UserError

POOLS = ("auto", "mean", "max", "token", "none")
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class ViewsConfig(PretrainConfig):
    """Settings of ``byol views``: those of a run, of which the ones about views matter."""

    pictures: int = setting(
        8,
        "Rows of the picture.",
        low=1,
        basic=True,
    )


@dataclass(frozen=True)
class BenchmarkConfig(PretrainConfig):
    """Settings of ``byol benchmark``: those of the run whose speed is in question."""

    seconds: float = setting(
        5.0,
        "About how long each part is measured.",
        low=0.1,
        high=3600,
        basic=True,
    )


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """Settings of ``byol evaluate``."""

    run: str = setting(
        help=(
            "A run's folder, or one of its checkpoints (RUN/checkpoints/best.ckpt); or a backbone "
            "without a run: what byol export wrote, hf-hub:OWNER/NAME, or local-dir:FOLDER."
        ),
        place="input",
        home=True,
        basic=True,
    )
    data: str | None = setting(
        None,
        "Labelled pictures; without it, those of the run.",
        place="images",
        basic=True,
    )
    layer: str | None = setting(
        None,
        "A part of the backbone, such as layer3 or blocks.6; without it, its output.",
        basic=True,
    )
    pool: Literal["auto", "mean", "max", "token"] = setting(
        "auto",
        "What becomes of a layer's places: mean, max, token (a transformer's class token), or "
        "auto: the mean of a layer, and the backbone's own pooling for its output.",
        basic=True,
    )
    protocol: str = setting(
        "fewshot,knn,linear",
        "Which measurements, separated by commas: fewshot, knn, linear (logistic regression), "
        "linear-sgd (the paper's), finetune, cluster, retrieval, or all that the labels are "
        "for. Their results go to the screen and to evaluation.json in the run's folder.",
        basic=True,
    )
    labels: str | None = setting(
        None,
        "A CSV file of labels, with a header: first the picture's file, then its class, or "
        "several columns of 0 and 1, or numbers. Without it, the class folders tell; without "
        "DATA too, the run's own file, where it has one.",
        place="input",
        home=True,
        basic=True,
    )
    groups: str | None = setting(
        None,
        "A CSV file of pictures that belong together, with a header: first the picture's "
        "file, then the name of its patient, camera or part. No group is on both sides where "
        "a part of DATA is held out to judge, and intervals are over groups. Without it, and "
        "without DATA, that of the run.",
        place="input",
        home=True,
        basic=True,
    )
    task: Literal["auto", "classification", "multilabel", "regression"] = setting(
        "auto",
        "What the labels are: classification, multilabel, regression, or auto: what they look "
        "like.",
        basic=True,
    )
    epochs: int | None = setting(
        None,
        "Of linear-sgd and finetune; without it 80 and 50, for finetune on a CPU fewer where "
        "there are many labels.",
        low=1,
        basic=True,
    )
    batch_size: int | None = setting(
        None,
        "Pictures at a time; without it 256, for linear-sgd 1024, fewer for small sets.",
        low=1,
        basic=True,
    )
    label_shares: list[float] = setting(
        help="Of the labels that finetune gets, each above 0 and at most 1.",
        factory=lambda: [0.01, 0.1, 1.0],
        basic=True,
    )
    clusters: int | None = setting(
        None,
        "That cluster looks for; without it, as many as there are classes.",
        low=2,
        basic=True,
    )
    neighbours: list[int] = setting(
        help="Numbers of them that vote in k-NN, a column of the table each.",
        factory=lambda: [20, 200],
        low=1,
        basic=True,
    )
    temperature: float = setting(
        0.1,
        "Of their votes; the smaller, the more the nearest decide.",
        low=0.0001,
        basic=True,
    )
    reference: str | None = setting(
        None,
        "Other weights for the same backbone to compare with: a .safetensors or PyTorch file, "
        "or the folder of a run; without it timm's, if they are on this disk.",
        place="input",
        home=True,
        basic=True,
    )
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting(
        "auto",
        "Cpu, gpu, mps or auto.",
        basic=True,
    )
    seed: int = setting(
        0,
        "Of the few-shot draws, the splits and the intervals.",
        low=0,
        high=2**63 - 1,
        basic=True,
    )
    data_root: str = setting(
        "~/.cache/byol",
        "Where named data sets lie or are downloaded to.",
        place="output",
        basic=True,
    )
    trust: bool = setting(
        False,
        "Open what the settings of a run from elsewhere, or a file of --config, name: images, "
        "labels, hosts. A run that you made, in its place, needs no such word.",
        basic=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task, self.labels)
        if not self.neighbours:
            raise UserError("--neighbours is empty: give at least one number")
        for share in self.label_shares:
            if not 0 < share <= 1:
                raise UserError(
                    f"--label_shares={share} is out of range: give numbers above 0, at most 1"
                )


@dataclass(frozen=True)
class FeaturesConfig(Settings):
    """What every command that computes features can be told."""

    run: str = setting(
        help=(
            "A run's folder, or one of its checkpoints (RUN/checkpoints/best.ckpt); or a backbone "
            "without a run: what byol export wrote, hf-hub:OWNER/NAME, or local-dir:FOLDER."
        ),
        place="input",
        home=True,
        basic=True,
    )
    data: str | None = setting(
        None,
        "Pictures, or a single one; without it, those of the run.",
        place="images",
        basic=True,
    )
    layer: str | None = setting(
        None,
        "A part of the backbone, such as layer3 or blocks.6; without it, its output.",
        basic=True,
    )
    pool: Literal["auto", "mean", "max", "token", "none"] = setting(
        "auto",
        "What becomes of a layer's places: mean, max, token (a transformer's class token), "
        "none (a vector for every place: the grid, height × width × features), or auto: the "
        "mean of a layer, and the backbone's own pooling for its output.",
        basic=True,
    )
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32",
        "Fp32, whose features equal those of the exported weights elsewhere; or bf16 or fp16, "
        "which are faster and off by about a hundredth.",
        basic=True,
    )
    split: Literal["all", "train", "test"] = setting(
        "all",
        "Train, test or all.",
        basic=True,
    )
    batch_size: int = setting(
        256,
        "Pictures at a time.",
        low=1,
        basic=True,
    )
    workers: int | None = setting(
        None,
        "Processes that decode files; without it, one for every core of a CPU, or half the "
        "cores beside a GPU.",
        low=0,
        basic=True,
    )
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting(
        "auto",
        "Cpu, gpu, mps or auto.",
        basic=True,
    )
    data_root: str = setting(
        "~/.cache/byol",
        "Where named data sets lie or are downloaded to.",
        place="output",
        basic=True,
    )
    trust: bool = setting(
        False,
        "Open what the settings of a run from elsewhere, or a file of --config, name: images, "
        "labels, hosts. A run that you made, in its place, needs no such word.",
        basic=True,
    )


@dataclass(frozen=True)
class PooledFeaturesConfig(FeaturesConfig):
    """What the commands can be configured with that need one vector per image."""

    pool: Literal["auto", "mean", "max", "token"] = setting(
        "auto",
        "What becomes of a layer's places: mean, max, token (a transformer's class token), or "
        "auto: the mean of a layer, and the backbone's own pooling for its output.",
        basic=True,
    )


@dataclass(frozen=True)
class EmbedConfig(FeaturesConfig):
    """Settings of ``byol embed``."""

    out: str = setting(
        "embeddings.parquet",
        "The file to write. .parquet: name, split, label and embedding in row groups; .npy: "
        "the vectors alone, for a memory map, beside them their names in NAME.names.parquet; "
        ".npz: all of it as arrays.",
        place="output",
        home=True,
        basic=True,
    )
    dtype: Literal["float32", "float16"] = setting(
        "float32",
        "Float32 or float16, of the numbers in the file.",
        basic=True,
    )


@dataclass(frozen=True)
class SweepConfig(Settings):
    """Settings of ``byol sweep``."""

    sweep: str = setting(
        help="A YAML file with settings, rows, grid and seeds, as in benchmarks/sweeps.",
        place="input",
        home=True,
        basic=True,
    )
    out: str | None = setting(
        None,
        "The sweep's folder; without it sweeps/ and the file's name. What is finished there "
        "is not run again, and what another byol sweep is at is left to it.",
        place="output",
        home=True,
        basic=True,
    )
    trust: bool = setting(
        False,
        "Open what the file names: images, labels, weights, hosts. Without it a sweep may "
        "only name built-in images and networks.",
        basic=True,
    )


@dataclass(frozen=True)
class ReportConfig(Settings):
    """Settings of ``byol report``."""

    run: list[str] = setting(
        help="A run's folder, or several to be compared.",
        place="input",
        home=True,
        basic=True,
    )
    data: str | None = setting(
        None,
        "Where the pictures are, if not where the run found them.",
        place="images",
        basic=True,
    )
    out: str | None = setting(
        None,
        "The .html file to write; without it report.html in the run's folder, or compare.html.",
        place="output",
        home=True,
        basic=True,
    )
    pictures: int | None = setting(
        None,
        "Most pictures of each set to look at; without it 5,000 small or 1,000 large ones.",
        low=8,
        basic=True,
    )
    batch_size: int = setting(
        256,
        "Pictures at a time.",
        low=1,
        basic=True,
    )
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting(
        "auto",
        "Cpu, gpu, mps or auto.",
        basic=True,
    )
    seed: int = setting(
        0,
        "Of the queries and of the choice of pictures.",
        low=0,
        high=2**63 - 1,
        basic=True,
    )
    data_root: str = setting(
        "~/.cache/byol",
        "Where named data sets lie or are downloaded to.",
        place="output",
        basic=True,
    )
    trust: bool = setting(
        False,
        "Open what the settings of a run from elsewhere, or a file of --config, name: images, "
        "labels, hosts. A run that you made, in its place, needs no such word.",
        basic=True,
    )
