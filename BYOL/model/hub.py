"""A model in timm's format, on the Hugging Face hub or in a folder, becomes settings of a run.

What the run keeps is the network's name and arguments; its weights are a file as any other. So a
run that has begun with such a model needs neither the hub nor the folder again.
"""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BYOL._links import check_file_link
from BYOL.config import PretrainConfig
from BYOL.errors import UserError
from BYOL.model.backbones import SETTLED
from BYOL.model.weights import HUB_CONFIG, HUB_WEIGHTS, TORCH_WEIGHTS
from BYOL.views.config import Sight

HUB, FOLDER = "hf-hub:", "local-dir:"
MOST_CHANNELS, LARGEST_SIDE = 1024, 8192  # of a stranger's config.json, which fills no memory
Find = Callable[[str], Path | None]  # a file of the model, by its name


@dataclass(frozen=True)
class HubModel:
    """A model in timm's format.

    Args:
        argument: what the user calls it, for messages.
        network: timm's name of its architecture.
        arguments: of that, but those that a run settles.
        told: its config.json.
        find: finds its files.
    """

    argument: str
    network: str
    arguments: dict[str, Any]
    told: dict[str, Any]
    find: Find

    @property
    def weights(self) -> Path:
        """The file of its weights.

        Raises:
            UserError: there is none.
        """
        found = self.find(HUB_WEIGHTS) or self.find(TORCH_WEIGHTS)
        if found is None:
            raise UserError(
                f"{self.argument} has no weights: neither {HUB_WEIGHTS} nor {TORCH_WEIGHTS}"
            )
        return found

    @property
    def sight(self) -> Sight:
        """How it is shown pictures; the number of means is that of its channels.

        Raises:
            UserError: its config.json does not say so, or no sense.
        """
        arguments = self.told.get("model_args") or {}
        try:
            known = {**self.told, **(self.told.get("pretrained_cfg") or {})}
            channels, height, _ = (int(side) for side in known.get("input_size") or (3, 224, 224))
            channels = int(arguments.get("in_chans", channels))
            mean, std = ([float(value) for value in known[name]] for name in ("mean", "std"))
            size = arguments.get("img_size", height)
            size = int(size[0] if isinstance(size, list) else size)
            sound = len(mean) == len(std) == channels <= MOST_CHANNELS and min(std) > 0
            sound = sound and 0 < size <= LARGEST_SIDE
            sound = sound and all(math.isfinite(value) for value in (*mean, *std))
        except (KeyError, ValueError, TypeError, IndexError, OverflowError):
            sound = False
        if not sound:
            raise UserError(
                f"{self.argument} does not say how it sees pictures: its {HUB_CONFIG} has no "
                "sound input_size, mean and std"
            )
        return Sight(size, mean, std)


def is_hub_model(name: str) -> bool:
    """Whether a model in timm's format is meant, and no name of timm's or path."""
    return name.startswith((HUB, FOLDER))


def hub_model(name: str, argument: str) -> HubModel:
    """A model in timm's format.

    Args:
        name: ``hf-hub:OWNER/NAME`` or ``local-dir:FOLDER``.
        argument: what the user calls it.

    Raises:
        UserError: it is not there, or not in that format.
    """
    if name.startswith(HUB):
        find = _on_the_hub(name.removeprefix(HUB), argument)
    else:
        find = _in_folder(Path(name.removeprefix(FOLDER)).expanduser(), argument)
    return HubModel(argument, *_network(find(HUB_CONFIG), argument), find)


def settled_backbone(config: PretrainConfig) -> PretrainConfig:
    """The same for a backbone that is a timm name; else with what the model says of itself.

    Its arguments go below those of ``backbone_args``; with ``pretrained``, and without ``weights``,
    its weights are begun with.

    Raises:
        UserError: the model is not there, or not in timm's format.
    """
    if not is_hub_model(config.backbone):
        return config
    model = hub_model(config.backbone, f"--backbone={config.backbone}")
    arguments = {**model.arguments, **config.backbone_args}
    settled = dataclasses.replace(config, backbone=model.network, backbone_args=arguments)
    if not config.pretrained or config.weights:
        return settled
    return dataclasses.replace(settled, pretrained=False, weights=str(model.weights))


def _network(file: Path | None, argument: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """timm's name of the network, its arguments but those that a run settles, and all that the
    file says."""
    import timm

    import BYOL.model.timm_registry  # noqa: F401  tells timm of this package's networks

    try:
        told = json.loads(file.read_text(encoding="utf-8")) if file else {}
        name, arguments = told["architecture"], dict(told.get("model_args") or {})
        sound = isinstance(name, str) and timm.is_model(name)
    except (OSError, ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise UserError(
            f"{argument} is not in timm's format: its {HUB_CONFIG} names no architecture of timm's"
        )
    return name, {key: value for key, value in arguments.items() if key not in SETTLED}, told


def _in_folder(folder: Path, argument: str) -> Find:
    if not folder.is_dir():
        raise UserError(f"{argument}: there is no folder {folder}")

    def find(name: str) -> Path | None:
        check_file_link(folder / name, argument)
        return folder / name if (folder / name).is_file() else None

    return find


def _on_the_hub(repository: str, argument: str) -> Find:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

    def find(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name))
        except LocalEntryNotFoundError as error:  # an EntryNotFoundError, too, but of the network
            raise _not_had(argument, error) from error
        except EntryNotFoundError:
            return None
        except Exception as error:  # a name that is none, no such repository, no network
            raise _not_had(argument, error) from error

    return find


def _not_had(argument: str, error: Exception) -> UserError:
    first = (str(error).strip().splitlines() or [""])[0]
    return UserError(f"{argument} cannot be had from the hub ({type(error).__name__}: {first})")
