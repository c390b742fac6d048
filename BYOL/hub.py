"""A model in timm's format, on the Hugging Face hub or in a folder, becomes settings of a run.

What the run keeps is the network's name and arguments; its weights are a file as any other. So a
run that has begun with such a model needs neither the hub nor the folder again.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from BYOL.backbones import SETTLED
from BYOL.config import PretrainConfig
from BYOL.errors import UserError
from BYOL.export.weights import HUB_CONFIG, HUB_WEIGHTS, TORCH_WEIGHTS

HUB, FOLDER = "hf-hub:", "local-dir:"
Find = Callable[[str], Path | None]  # a file of the model, by its name


def settled_backbone(config: PretrainConfig) -> PretrainConfig:
    """The same for a backbone that is a timm name; else with what the model says of itself.

    Its arguments go below those of ``backbone_args``; with ``pretrained``, and without ``weights``,
    its weights are begun with.

    Raises:
        UserError: the model is not there, or not in timm's format.
    """
    argument = f"--backbone={config.backbone}"
    if config.backbone.startswith(HUB):
        find = _on_the_hub(config.backbone.removeprefix(HUB), argument)
    elif config.backbone.startswith(FOLDER):
        find = _in_folder(Path(config.backbone.removeprefix(FOLDER)).expanduser(), argument)
    else:
        return config
    name, arguments = _network(find(HUB_CONFIG), argument)
    settled = dataclasses.replace(
        config, backbone=name, backbone_args={**arguments, **config.backbone_args}
    )
    if not config.pretrained or config.weights:
        return settled
    weights = find(HUB_WEIGHTS) or find(TORCH_WEIGHTS)
    if weights is None:
        raise UserError(f"{argument} has no weights: neither {HUB_WEIGHTS} nor {TORCH_WEIGHTS}")
    return dataclasses.replace(settled, pretrained=False, weights=str(weights))


def _network(file: Path | None, argument: str) -> tuple[str, dict[str, Any]]:
    """timm's name of the network, and its arguments but those that a run settles."""
    import timm

    import BYOL.registry  # noqa: F401  tells timm of this package's networks

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
    return name, {key: value for key, value in arguments.items() if key not in SETTLED}


def _in_folder(folder: Path, argument: str) -> Find:
    if not folder.is_dir():
        raise UserError(f"{argument}: there is no folder {folder}")
    return lambda name: folder / name if (folder / name).is_file() else None


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
