"""A run is opened again: its settings, its weights, its checkpoints."""

import dataclasses
import logging
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from BYOL._console import printable
from BYOL._files import to_json
from BYOL._links import check_run_links
from BYOL.config import PretrainConfig
from BYOL.config.data_names import check_named_images
from BYOL.config.paths import found_again, named_places, place_values
from BYOL.config.yaml_io import read_run_config
from BYOL.errors import UserError
from BYOL.model.weights import load_weights
from BYOL.runs.build_model import seeded_backbone
from BYOL.runs.checksum import check_seal
from BYOL.runs.folder import RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A run that has been opened.

    Args:
        folder: of the run.
        config: its settings.
        backbone: trained.
        checkpoint: which of its checkpoints the backbone is from, if one was asked for.
        published: the name of a backbone without a run (:mod:`BYOL.runs.published`), which knows of
            no pictures, or None.
        elsewhere: why the places that its settings name are not opened; None: this user made the
            run, or trusts it. ``config`` then names neither labels nor groups.
    """

    folder: RunFolder
    config: PretrainConfig
    backbone: nn.Module
    checkpoint: Path | None = None
    published: str | None = None
    elsewhere: str | None = None

    @cached_property
    def untrained(self) -> nn.Module:
        """The backbone as the seed makes it; built at the first use, since few commands need it."""
        return untrained(self.config)

    @cached_property
    def start(self) -> nn.Module | None:
        """The backbone with the weights that the run started from; None without such weights."""
        return None if self.published else started_from(self.config, self.folder)

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.published or str(self.folder.path)

    def check_places(self) -> None:
        """Make sure that the images which the settings of the run name may be opened.

        Raises:
            UserError: they name none, or the run is from elsewhere.
        """
        if self.published:
            raise UserError(
                f"RUN={self.name} is a backbone without a run and knows of no pictures: give DATA"
            )
        if self.elsewhere:
            raise UserError(self.elsewhere)

    @property
    def metadata(self) -> dict[str, str]:
        """What an exported file says of itself."""
        return backbone_metadata(self.config)

    @property
    def evaluation(self) -> Path:
        """Where the answer of ``byol evaluate`` is kept, for each checkpoint in its own place."""
        if self.published:  # not into a place that is not ours
            return Path(f"{Path(self.published.replace(':', '/')).name}.evaluation.json")
        known = self.folder.evaluation
        return known.with_stem(f"{known.stem}-{self.checkpoint.stem}") if self.checkpoint else known


def backbone_metadata(config: PretrainConfig) -> dict[str, str]:
    """What someone needs to use the weights without this package."""
    names = ("backbone", "stem", "norm", "channels", "image_size", "mean", "std")
    found = {name: str(getattr(config, name)) for name in names}
    deep = {"pixel_range": str(list(config.pixel_range))} if config.pixel_range else {}
    further = {"backbone_args": to_json(config.backbone_args)} if config.backbone_args else {}
    return {**found, **deep, **further}


def open_run(path: str | Path, *, trust: bool = False) -> Run:
    """Open the folder of a run, finished or not (then the newest whole checkpoint is taken).

    Args:
        path: of the folder, or of one of the checkpoints in it.
        trust: whether the places that its settings name may be opened although this user has not
            written them; a run of the user's own, in its place, needs no such word.

    Raises:
        UserError: no such folder, not a run, nothing trained in it yet, or links that lead out.
    """
    folder, checkpoint = folder_and_checkpoint(Path(path))
    if not folder.path.is_dir():
        raise UserError(
            f"RUN={path} is not a folder: give the folder that byol pretrain made, or "
            "a .safetensors file that byol export wrote"
        )
    check_run_links(folder.path, f"RUN={path}")
    if not folder.config.exists():
        raise UserError(f"RUN={path} is not the folder of a run: it has no config.yaml")
    config, elsewhere = _run_settings(folder, path, trust)
    weights = backbone_of(checkpoint) if checkpoint else trained_weights(folder)
    return Run(
        folder, config, with_weights(config, weights, folder.path), checkpoint, elsewhere=elsewhere
    )


def _run_settings(
    folder: RunFolder, path: str | Path, trust: bool
) -> tuple[PretrainConfig, str | None]:
    """The settings of a run, and why the places that they name are not opened, if so."""
    config, signed = read_run_config(folder.config)
    places = named_places(PretrainConfig, place_values(config))
    named = next((name for name in ("data", "labels", "groups") if name in places), None)
    if named is None:
        return config, None
    if signed or trust:
        if config.data is not None:
            check_named_images(config.data, f"RUN={path}")
        return found_again(config, folder.path), None
    elsewhere = (
        f"RUN={path} is from elsewhere (not made by you, or moved), and its settings name "
        f"{named}={printable(places[named])}: give DATA, or --trust to open what they name"
    )
    return dataclasses.replace(config, labels=None, groups=None, task="auto"), elsewhere


def folder_and_checkpoint(path: Path) -> tuple[RunFolder, Path | None]:
    """The run that is meant by its folder, or by RUN/checkpoints/NAME.ckpt, and that checkpoint."""
    if path.suffix == ".ckpt" and path.parent.name == "checkpoints" and path.is_file():
        return RunFolder(path.parent.parent), path
    return RunFolder(path), None


def untrained(config: PretrainConfig) -> nn.Module:
    """A run's backbone as its seed makes it, in evaluation mode."""
    return seeded_backbone(config).eval()


def started_from(config: PretrainConfig, folder: RunFolder) -> nn.Module | None:
    """A run's backbone with the weights from elsewhere that it began with; None without any."""
    if not folder.start.exists():
        return None
    return with_weights(config, load_weights(folder.start)[0], folder.start)


def with_weights(config: PretrainConfig, weights: dict[str, Tensor], place: Path) -> nn.Module:
    """A run's backbone with ``weights``, in evaluation mode.

    Args:
        config: of the run.
        weights: a state dict.
        place: where they were found, for the message.

    Raises:
        UserError: they are another network's.
    """
    backbone = untrained(config)
    try:
        backbone.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise UserError(f"the weights in {place} are not those of its config.yaml") from error
    return backbone


def trained_weights(folder: RunFolder) -> dict[str, Tensor]:
    """The state dict of a run's trained backbone: the finished one, else the last checkpoint's.

    Args:
        folder: of the run.

    Raises:
        UserError: nothing trained yet, or only files that are damaged.
    """
    if folder.backbone.exists():
        return load_weights(folder.backbone)[0]
    found = newest_usable(folder)
    if found is None:
        raise UserError(
            f"RUN={folder.path} has no weights yet: no backbone.safetensors, no checkpoint"
        )
    return _backbone_in(found[1])


def backbone_of(checkpoint: Path) -> dict[str, Tensor]:
    """The state dict of the online network's backbone in a checkpoint.

    Raises:
        UserError: it is damaged, or no checkpoint of this package.
    """
    return _backbone_in(load_checkpoint(checkpoint))


def _backbone_in(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    prefix, state = "model.onlineNet.backend.", checkpoint["state_dict"]
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def newest_usable(folder: RunFolder) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, and what is in it; None where there is none at all.

    A warning is logged where newer ones are damaged.

    Args:
        folder: of the run.

    Raises:
        UserError: there are checkpoints, and every one is damaged.
    """
    problem: UserError | None = None
    for path in (folder.checkpoint, *folder.older_checkpoints()):
        if not path.exists():
            continue
        try:
            checkpoint = load_checkpoint(path)
        except UserError as error:
            problem = problem or error
            continue
        if problem:
            log.warning(
                f"{problem}; {path.name} of step {checkpoint['global_step']} is used instead"
            )
        return path, checkpoint
    if problem:
        raise problem
    return None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint without running any code that it may carry.

    Raises:
        UserError: it cannot be read, is damaged (by its checksum), is not a checkpoint of this
            package, or holds anything but tensors and plain values.
    """
    import pickle

    try:
        check_seal(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, about the pickle; the errors say more
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"checkpoint {path} is refused: it is damaged, or holds code and not only weights"
        ) from error
    except UserError:
        raise
    except Exception as error:  # a sealed file of someone's making may hold anything
        raise UserError(f"checkpoint {path} is damaged, or not a checkpoint") from error
    if (
        not isinstance(checkpoint, dict)
        or "byol_version" not in checkpoint
        or not isinstance(checkpoint.get("byol_config"), dict)
        or not isinstance(checkpoint.get("global_step"), int)
    ):
        raise UserError(f"checkpoint {path} is not one of a BYOL run")
    return checkpoint
