"""Models in timm's format, on the Hugging Face hub or in a folder, as the backbone of a run.

The run stores the timm name and the arguments of the network, and the path of the weights. So a run
that started from such a model needs neither the hub nor the folder to resume.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from BYOL._untrusted import check_file_link
from BYOL.config.model_settings import ModelSettings
from BYOL.config.schema import LENIENT, Text, read_json
from BYOL.config.yaml_io import MAX_CHANNELS, MAX_SIDE
from BYOL.data.hub_connection import hub_problem
from BYOL.errors import DataError, UserError, first_line
from BYOL.model.backbones import RESERVED_ARGUMENTS
from BYOL.model.weights import HUB_CONFIG, HUB_WEIGHTS, TORCH_WEIGHTS
from BYOL.views.config import InputSpec

HUB, FOLDER = "hf-hub:", "local-dir:"
MAX_MEAN = 1e3  # of a channel; pixels are from 0 to 1
MIN_STD = 1e-6
FindFile = Callable[[str], Path | None]  # from the name of a file of the model to its path
ModelConfig = TypeVar("ModelConfig", bound=ModelSettings)


class _Config(TypedDict, total=False):
    """The part of timm's config.json that names the network."""

    __pydantic_config__ = LENIENT  # type: ignore[misc]
    architecture: Text
    model_args: dict[str, Any] | None


@dataclass(frozen=True)
class HubModel:
    """A model in timm's format.

    Args:
        argument: the argument by which the user specified it, for messages.
        network: timm name of its architecture.
        arguments: arguments of the architecture, except those that a run sets itself.
        metadata: contents of its config.json.
        find: function that returns the path of one of its files, or None.
    """

    argument: str
    network: str
    arguments: dict[str, Any]
    metadata: dict[str, Any]
    find: FindFile

    @property
    def weights(self) -> Path:
        """The file of its weights.

        Raises:
            UserError: there is no such file.
        """
        file = self.find(HUB_WEIGHTS) or self.find(TORCH_WEIGHTS)
        if file is None:
            raise UserError(
                f"{self.argument} has no weights: neither {HUB_WEIGHTS} nor {TORCH_WEIGHTS}"
            )
        return file

    @property
    def input_spec(self) -> InputSpec:
        """Its input specification, with one mean per channel.

        Raises:
            UserError: its config.json has no valid input specification.
        """
        arguments = self.metadata.get("model_args") or {}
        try:
            settings = {**self.metadata, **(self.metadata.get("pretrained_cfg") or {})}
            channels, height, _ = (
                int(side) for side in settings.get("input_size") or (3, 224, 224)
            )
            channels = int(arguments.get("in_chans", channels))
            mean, std = ([float(value) for value in settings[name]] for name in ("mean", "std"))
            size = arguments.get("img_size", height)
            size = int(size[0] if isinstance(size, list) else size)
            valid = len(mean) == len(std) == channels <= MAX_CHANNELS and min(std) > 0
            valid = valid and 0 < size <= MAX_SIDE
            valid = valid and plausible_statistics(mean, std)
        except (KeyError, ValueError, TypeError, IndexError, OverflowError):
            valid = False
        if not valid:
            raise UserError(
                f"{self.argument} has no input specification: its {HUB_CONFIG} has no valid "
                "input_size, mean and std"
            )
        return InputSpec(size, mean, std)


def plausible_statistics(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Return whether pixels can be normalized by these numbers in float32, not only in theory."""
    finite = all(math.isfinite(value) for value in (*mean, *std))
    return (
        finite
        and all(abs(m) <= MAX_MEAN for m in mean)
        and all(MIN_STD <= s <= MAX_MEAN for s in std)
    )


def is_hub_model(name: str) -> bool:
    """Return whether ``name`` specifies a model in timm's format, not a timm name or a path."""
    return name.startswith((HUB, FOLDER))


def hub_model(name: str, argument: str) -> HubModel:
    """Open a model in timm's format.

    Args:
        name: ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``.
        argument: the argument by which the user specified it, for messages.

    Raises:
        UserError: it does not exist, or is not in that format.
    """
    if name.startswith(HUB):
        find = _find_on_hub(name.removeprefix(HUB), argument)
    else:
        find = _find_in_folder(Path(name.removeprefix(FOLDER)).expanduser(), argument)
    return HubModel(argument, *_read_config(find(HUB_CONFIG), argument), find)


def resolve_backbone(config: ModelConfig) -> ModelConfig:
    """Replace a backbone in timm's format by the timm name and arguments of its network.

    Its arguments have a lower priority than ``backbone_args``. With ``pretrained``, and without
    ``weights``, training starts from its weights. Other backbones are returned unchanged.

    Raises:
        UserError: the model does not exist, or is not in timm's format.
    """
    if not is_hub_model(config.backbone):
        return config
    model = hub_model(config.backbone, f"--backbone={config.backbone}")
    arguments = {**model.arguments, **config.backbone_args}
    resolved = dataclasses.replace(config, backbone=model.network, backbone_args=arguments)
    if not config.pretrained or config.weights:
        return resolved
    return dataclasses.replace(resolved, pretrained=False, weights=str(model.weights))


def _read_config(file: Path | None, argument: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return timm name, arguments and the whole contents of the config.json ``file`` of a model.

    Arguments that a run sets itself are left out.
    """
    import timm

    import BYOL.model.timm_registry  # noqa: F401  registers this package's networks

    try:
        metadata = (read_json(file, _Config) if file else None) or {}
    except DataError as error:
        raise DataError(f"{argument} is not in timm's format: {error}") from error
    name, arguments = metadata.get("architecture"), dict(metadata.get("model_args") or {})
    if name is None or not timm.is_model(name):
        raise UserError(
            f"{argument} is not in timm's format: its {HUB_CONFIG} names no architecture of timm's"
        )
    return (
        name,
        {key: value for key, value in arguments.items() if key not in RESERVED_ARGUMENTS},
        metadata,
    )


def _find_in_folder(folder: Path, argument: str) -> FindFile:
    if not folder.is_dir():
        raise UserError(f"{argument}: there is no folder {folder}")

    def find(name: str) -> Path | None:
        check_file_link(folder / name, argument)
        return folder / name if (folder / name).is_file() else None

    return find


def _find_on_hub(repository: str, argument: str) -> FindFile:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

    problem = hub_problem()

    def find(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name))
        except (
            LocalEntryNotFoundError
        ) as error:  # a subclass of EntryNotFoundError that means no network
            raise _download_error(argument, error, problem) from error
        except EntryNotFoundError:
            return None
        except Exception as error:  # an invalid name, no such repository, no network
            raise _download_error(argument, error, problem) from error

    return find


def _download_error(argument: str, error: Exception, problem: str | None) -> UserError:
    reason = problem or f"{type(error).__name__}: {first_line(error)}"
    return UserError(f"{argument} cannot be downloaded from the hub ({reason})")
