"""What is done with a finished run: measure it, embed pictures with it, export it; and views."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.config import EmbedConfig, EvaluateConfig, ExportConfig, ViewsConfig
from BYOL.data.images import Images, readable
from BYOL.data.sources import Splits, open_images
from BYOL.embeddings import write_embeddings
from BYOL.errors import UserError
from BYOL.evaluation.features import feature_batches
from BYOL.evaluation.protocols import check_protocols, evaluate, results_text
from BYOL.export import SUFFIXES, export_backbone
from BYOL.hardware import pick_accelerator, pick_workers, torch_device
from BYOL.plain import PLAIN_NETS
from BYOL.preparation import in_memory, prepare, view_configs
from BYOL.rng import fold
from BYOL.runs import Run, open_run, write_json
from BYOL.views.preview import save_preview

Answer = tuple[dict[str, Any], str]  # for --json, and for a person


def evaluate_run(config: EvaluateConfig) -> Answer:
    """``byol evaluate``: judge a run's backbone beside raw pixels and its untrained self.

    Writes ``evaluation.json`` into the run's folder.

    Raises:
        UserError: no run, no labelled pictures, pictures of other channels.
    """
    protocols = tuple(name.strip() for name in config.protocol.split(",") if name.strip())
    check_protocols(protocols)
    accelerator = pick_accelerator(config.accelerator)
    run = open_run(config.run)
    splits = _pictures(run, config.data, config.data_root)
    budget = int(run.config.memory * 1e9)
    train, _ = in_memory(splits.labelled or splits.train, budget)
    test, _ = in_memory(splits.test, budget) if splits.test else (None, [])
    results = evaluate(
        run.backbone,
        run.untrained,
        train,
        test,
        run.config.sight,
        device=torch_device(accelerator),
        workers=pick_workers(None, accelerator),
        batch_size=config.batch_size,
        protocols=protocols,
        seed=config.seed,
    )
    results = {"run": str(run.folder.path), "data": config.data or run.config.data, **results}
    write_json(run.folder.evaluation, results)
    return results, f"{results_text(results)}\nwritten to {run.folder.evaluation}"


def embed_run(config: EmbedConfig) -> Answer:
    """``byol embed``: a feature vector for every picture, with its name.

    Raises:
        UserError: no run, no pictures, an unknown ending, a file that cannot be written.
    """
    accelerator = pick_accelerator(config.accelerator)
    run = open_run(config.run)
    splits = _pictures(run, config.data, config.data_root)
    parts = {"train": splits.train, "test": splits.test}
    chosen = list(parts) if config.split == "all" else [config.split]
    sets = {name: parts[name] for name in chosen if parts.get(name) is not None}
    if not sets:
        raise UserError(f"--split={config.split} is not in DATA: it has only train")

    def batches() -> Iterator[tuple[str, Images, np.ndarray, np.ndarray]]:
        for name, images in sets.items():
            assert images is not None
            found = feature_batches(
                run.backbone,
                images,
                run.config.sight,
                device=torch_device(accelerator),
                workers=pick_workers(None, accelerator),
                batch_size=config.batch_size,
            )
            for ids, vectors in found:
                yield name, images, ids, vectors

    path, count, dimensions = write_embeddings(config.out, batches())
    total = sum(len(images) for images in sets.values() if images is not None)
    answer = {"out": str(path), "pictures": count, "left_out": total - count, "size": dimensions}
    left = f" ({total - count} could not be read)" if total > count else ""
    return answer, f"{count:,} pictures{left}, {dimensions} numbers each, in {path}"


def export_run(config: ExportConfig) -> Answer:
    """``byol export``: the backbone's weights as a file for timm, torchvision or plain PyTorch.

    Raises:
        UserError: no run, an unknown ending, a file that cannot be written.
    """
    if Path(config.to).suffix not in SUFFIXES:
        raise UserError(f"--to={config.to} has an unknown ending: use {' or '.join(SUFFIXES)}")
    run = open_run(config.run)
    path = export_backbone(run.backbone, config.to, run.metadata)
    return {"to": str(path), **run.metadata}, f"written to {path}; in Python:\n{_recipe(run, path)}"


def _recipe(run: Run, path: Path) -> str:
    """The lines of Python that load an exported backbone."""
    c = run.config
    read = "safetensors.torch.load_file" if path.suffix == ".safetensors" else "torch.load"
    if c.stem == "small":
        made = (
            f"BYOL.backbones.build_backbone({c.backbone!r}, in_channels={c.channels}, stem='small')"
        )
    else:
        made = f"timm.create_model({c.backbone!r}, num_classes=0, in_chans={c.channels})"
    known = "  import BYOL.backbones  # tells timm of it\n" if c.backbone in PLAIN_NETS else ""
    return f"{known}  model = {made}\n  model.load_state_dict({read}({str(path)!r}), strict=True)"


def show_views(config: ViewsConfig) -> Answer:
    """``byol views``: a picture of what the network will see.

    Raises:
        UserError: no pictures, or a file that cannot be written.
    """
    out = config.out or "views.png"
    if Path(out).suffix.lower() != ".png":
        raise UserError(f"--out={out} has an unknown ending: use .png")
    settings = dataclasses.replace(config, batch_size=1, accumulate=1, devices=1, nodes=1)
    prepared = prepare(settings, hold=False)
    rows = np.linspace(0, len(prepared.train) - 1, config.pictures).astype(int)
    images = readable(prepared.train, np.unique(rows).tolist())
    if not images:
        raise UserError(f"DATA={config.data}: not one of the pictures looked at can be read")
    key = fold(config.seed, 0)
    path = save_preview(images, view_configs(prepared.config), Path(out), key=key)
    return {"out": str(path), "pictures": len(images)}, f"{len(images)} pictures in {path}"


def _pictures(run: Run, data: str | None, data_root: str) -> Splits:
    """What the user named, else what the run was trained on, with the run's channels."""
    wanted = run.config.channels
    # Arrays say how many channels they have; only files can be converted.
    splits = open_images(data or run.config.data, channels=wanted, data_root=data_root)
    for images in (splits.train, splits.test):
        if images is not None and images.channels != wanted:
            raise UserError(
                f"DATA={data} has pictures of {images.channels} channels; the run in "
                f"{run.folder.path} was trained on {wanted}"
            )
    return splits
