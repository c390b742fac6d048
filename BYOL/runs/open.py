"""Opening a run: its settings, its weights and its checkpoints."""

import dataclasses
import logging
import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from BYOL._console import printable
from BYOL._files import to_json
from BYOL.config import PretrainConfig
from BYOL.config.backbone_spec import BackboneSpec
from BYOL.config.data_names import check_named_images
from BYOL.config.paths import named_places, with_moved_paths
from BYOL.config.resumed import ANNOTATIONS
from BYOL.config.view_settings import ViewSettings
from BYOL.config.yaml_io import check_resolved, read_run_config
from BYOL.errors import UserError, WeightsError
from BYOL.model.weights import load_weights, weights_digest
from BYOL.runs.build_model import untrained_backbone
from BYOL.runs.checksum import check_checksum
from BYOL.runs.folder import RunFolder
from BYOL.runs.schema import check_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A run, or a backbone without a run.

    Args:
        folder: folder of the run.
        config: settings of the run.
        backbone: the trained backbone.
        checkpoint: the checkpoint that the backbone is from, if the user specified one.
        published: the name of a backbone without a run (:func:`BYOL.runs.load.open_backbone`),
            which has no images; None for a run.
        elsewhere: reason why the places that the settings name are not opened. ``config`` then
            names neither labels nor groups. None if this user made the run or trusts it.
    """

    folder: RunFolder
    config: PretrainConfig
    backbone: nn.Module
    checkpoint: Path | None = None
    published: str | None = None
    elsewhere: str | None = None

    @cached_property
    def untrained(self) -> nn.Module:
        """The backbone before training; built at the first use, because few commands need it."""
        return untrained_backbone(self.config.only(BackboneSpec))

    @cached_property
    def start(self) -> nn.Module | None:
        """The backbone with the weights that the run started from; None without such weights."""
        spec = self.config.only(BackboneSpec)
        return None if self.published else starting_backbone(spec, self.folder)

    @cached_property
    def weights_digest(self) -> str:
        """The hash of the weights, by which results are known to be of them."""
        return weights_digest(self.backbone)

    @property
    def name(self) -> str:
        """The name that the user specified."""
        return self.published or str(self.folder.path)

    def check_places(self) -> None:
        """Check that the images which the settings of the run name may be opened.

        Raises:
            UserError: the settings name none, or the run is not from this user.
        """
        if self.published:
            raise UserError(
                f"RUN={self.name} is a backbone without a run and has no images: give DATA"
            )
        if self.elsewhere:
            raise UserError(self.elsewhere)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of an exported file."""
        return backbone_metadata(self.config)

    @property
    def evaluation(self) -> Path:
        """Path of the results of ``byol evaluate``; each checkpoint has its own."""
        if self.published:  # the place of the weights may belong to others
            name = Path(self.published.replace(":", "/")).name
            return Path(f"{name}.{self.folder.evaluation.name}")
        path = self.folder.evaluation
        return path.with_stem(f"{path.stem}-{self.checkpoint.stem}") if self.checkpoint else path


def backbone_metadata(config: PretrainConfig) -> dict[str, str]:
    """Return the metadata that is needed to use the weights without this package."""
    names = ("backbone", "stem", "norm", "channels", "image_size", "mean", "std")
    metadata = {name: str(getattr(config, name)) for name in names}
    if config.pixel_range:
        metadata["pixel_range"] = str(list(config.pixel_range))
    if config.no_data is not None:
        metadata["no_data"] = str(config.no_data)
    if config.slice != "middle":
        metadata["slice"] = config.slice
    if config.backbone_args:
        metadata["backbone_args"] = to_json(config.backbone_args)
    return metadata


def open_run(path: str | Path, *, trust: bool = False) -> Run:
    """Open the folder of a run; if it is not finished, its newest complete checkpoint is used.

    Args:
        path: path of the folder, or of one of the checkpoints in it.
        trust: whether the places that its settings name may be opened although this user has not
            written them. A run that this user made and did not move needs no trust.

    Raises:
        UserError: ``path`` is not the folder of a run, has no weights yet, or has links that lead
            out of it.
    """
    folder, checkpoint = folder_and_checkpoint(Path(path))
    if not folder.path.is_dir():
        raise UserError(
            f"RUN={path} is not a folder: give the folder that byol pretrain made, or "
            "a .safetensors file that byol export wrote"
        )
    folder.check_links(f"RUN={path}")
    if not folder.config.exists():
        raise UserError(f"RUN={path} is not the folder of a run: it has no {folder.config.name}")
    config, elsewhere = _run_settings(folder, path, trust)
    weights = checkpoint_backbone(checkpoint) if checkpoint else trained_weights(folder)
    backbone = with_weights(config.only(BackboneSpec), weights, folder.path)
    return Run(folder, config, backbone, checkpoint, elsewhere=elsewhere)


def _run_settings(
    folder: RunFolder, path: str | Path, trust: bool
) -> tuple[PretrainConfig, str | None]:
    """Return the settings of a run, and the reason if the places that they name stay closed."""
    config, signed = read_run_config(folder.config)
    check_resolved(config.only(ViewSettings), config.channels, folder.config)
    config, places = named_places(config, trusted=signed or trust)
    named = next((name for name in ("data", "labels", "groups") if name in places), None)
    if named is None:
        return config, None
    if signed or trust:
        if config.data is not None:
            check_named_images(config.data, f"RUN={path}")
        return with_moved_paths(config, folder.path), None
    elsewhere = (
        f"RUN={path} is from elsewhere (not made by you, moved, or made by an older version), "
        f"and its settings name {named}={printable(places[named])}: give DATA, or --trust to open "
        "what they name"
    )
    nothing: dict[str, Any] = {**dict.fromkeys(ANNOTATIONS), "task": "auto"}
    out = None if config.out is None else os.path.abspath(folder.path)  # noqa: PTH100
    return dataclasses.replace(config, out=out, **nothing), elsewhere


def folder_and_checkpoint(path: Path) -> tuple[RunFolder, Path | None]:
    """Return the run of ``path``, and the checkpoint if ``path`` is RUN/checkpoints/NAME.ckpt."""
    folder = RunFolder(path.parent.parent)
    if path.suffix == ".ckpt" and path.parent == folder.checkpoints and path.is_file():
        return folder, path
    return RunFolder(path), None


def starting_backbone(spec: BackboneSpec, folder: RunFolder) -> nn.Module | None:
    """Return the backbone with the weights that the run started from; None without such weights."""
    if not folder.start.exists():
        return None
    return with_weights(spec, load_weights(folder.start)[0], folder.start)


def with_weights(spec: BackboneSpec, weights: dict[str, Tensor], place: Path) -> nn.Module:
    """Return the backbone of a run with ``weights``, in evaluation mode.

    Args:
        spec: what the backbone is built from.
        weights: a state dict.
        place: path of the weights, for the message.

    Raises:
        WeightsError: they are the weights of another network.
    """
    backbone = untrained_backbone(spec)
    try:
        backbone.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"the weights in {place} are not those of its config.yaml") from error
    return backbone


def trained_weights(folder: RunFolder) -> dict[str, Tensor]:
    """Return the state dict of a trained backbone: the final one, or that of the last checkpoint.

    Args:
        folder: folder of the run.

    Raises:
        WeightsError: there are no weights yet, or all files are damaged.
    """
    if folder.backbone.exists():
        return load_weights(folder.backbone)[0]
    newest = newest_complete_checkpoint(folder)
    if newest is None:
        raise WeightsError(
            f"RUN={folder.path} has no weights yet: no {folder.backbone.name}, no checkpoint"
        )
    return _backbone_state(newest[1])


def checkpoint_backbone(checkpoint: Path) -> dict[str, Tensor]:
    """Return the state dict of the online network's backbone in ``checkpoint``.

    Raises:
        WeightsError: it is damaged, or no checkpoint of this package.
    """
    return _backbone_state(load_checkpoint(checkpoint))


def _backbone_state(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    prefix, state = "model.onlineNet.backend.", checkpoint["state_dict"]
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def newest_complete_checkpoint(folder: RunFolder) -> tuple[Path, dict[str, Any]] | None:
    """Return the path and content of the newest complete checkpoint; None without checkpoints.

    A warning is logged if newer checkpoints are damaged.

    Args:
        folder: folder of the run.

    Raises:
        UserError: all checkpoints are damaged.
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
            log.warning(f"{problem}; {path.name} of step {checkpoint['global_step']} is used")
        return path, checkpoint
    if problem:
        raise problem
    return None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint; code in it is not executed.

    Raises:
        WeightsError: it cannot be read, its checksum is wrong, it is not a checkpoint of this
            package, or it contains anything but tensors and plain values.
    """
    import pickle

    try:
        check_checksum(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's about the pickle; the errors are clearer
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"checkpoint {path} is refused: it is damaged, or holds code and not only weights"
        ) from error
    except UserError:
        raise
    except Exception as error:  # a file with a valid checksum may contain anything
        raise WeightsError(f"checkpoint {path} is damaged, or not a checkpoint") from error
    check_checkpoint(checkpoint, path)
    return checkpoint
