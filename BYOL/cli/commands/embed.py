"""The command ``byol embed``."""

import dataclasses
from pathlib import Path
from typing import Any

from BYOL._console import counted
from BYOL._distributed import first_process, process_rank
from BYOL.cli.commands.common import Answer, images_text
from BYOL.config.features import EmbedConfig
from BYOL.curation.embed_parts import embed_share
from BYOL.curation.embedding_files import SUFFIXES, check_embeddings_path, write_embeddings
from BYOL.curation.embeddings import Embeddings
from BYOL.curation.run_features import open_features
from BYOL.data.shards.urls import is_url
from BYOL.errors import SettingsError
from BYOL.training.launcher import find_launcher, resolve_processes
from BYOL.training.local_processes import run_processes


def embed_run(config: EmbedConfig) -> Answer:
    """Write the feature vector of every image, with its name, to a file or a folder.

    Raises:
        UserError: there is no run, there are no images, the ending, layer or pooling is unknown, or
            the output cannot be written.
    """
    devices, nodes = resolve_processes(config.devices, config.nodes, config.specified)
    config = dataclasses.replace(config, devices=devices, nodes=nodes)
    processes = config.devices * config.nodes
    if not _is_folder(config.out):
        if processes > 1:
            raise SettingsError(
                f"--out={config.out} is a single file, for one process: give a folder such as "
                "--out=embeddings/"
            )
        return _embed_to_file(config)
    rank = process_rank()
    if processes == 1 or processes == find_launcher(config.devices).tasks:
        answers = [embed_share(config, rank, processes)]
    else:
        ranks = range(rank, rank + config.devices)
        answers = run_processes(embed_share, (config,), ranks, processes)
    sums = {name: sum(own[name] for own in answers) for name in ("written", "left_out")}
    missing = min(own["missing_parts"] for own in answers)
    answer = {**answers[0], **sums, "missing_parts": missing}
    return answer, _text(answer) if first_process() else ""


def _is_folder(out: str) -> bool:
    """Whether ``--out`` names a folder: a URL or path without a suffix, or an existing folder."""
    path = Path(out)
    if out.endswith("/") or is_url(out):
        return True
    return path.suffix not in SUFFIXES and (path.is_dir() or not path.suffix)


def _text(answer: dict[str, Any]) -> str:
    left = f" ({answer['left_out']:,} could not be read)" if answer["left_out"] else ""
    size, missing = " × ".join(map(str, answer["shape"])), answer["missing_parts"]
    parts = f"{answer['parts'] - missing:,} of {counted(answer['parts'], 'part')} are complete"
    return (
        f"{counted(answer['written'], 'image')} of {answer['pictures']:,} computed{left}, {size} "
        f"numbers each; {parts} in {answer['out']}"
    )


def _embed_to_file(config: EmbedConfig) -> Answer:
    path = check_embeddings_path(config.out)
    features = open_features(config)
    embeddings = Embeddings(features.batches(), config.dtype, features.metadata)
    write_embeddings(path, embeddings)
    left_out = features.total - embeddings.count
    answer = {
        "out": str(path),
        "pictures": embeddings.count,
        "left_out": left_out,
        "shape": list(embeddings.shape),
        "dtype": config.dtype,
        "precision": features.precision,
    }
    size = " × ".join(map(str, embeddings.shape))
    images = images_text(embeddings.count, left_out)
    return answer, f"{images}, {size} numbers each, in {path}"
