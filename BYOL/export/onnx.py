"""ONNX: the network for any runtime, in any language."""

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from BYOL import __version__
from BYOL._files import write_atomically
from BYOL.errors import UserError
from BYOL.export.checks import check_equal, pictures_to_check, pixel_metadata, traced
from BYOL.export.exportable import Model

NEEDED = ("onnx", "onnxruntime", "onnxscript")
LARGEST = 2_000_000_000  # bytes: what a file of one piece may hold


def export_onnx(model: Model, path: Path) -> dict[str, Any]:
    """Write an .onnx file: ``images`` (pixels from 0 to 1, any number of them) → ``features``.

    With a classifier its output is ``probabilities`` or ``values``.

    It is checked by onnx's own checker, then run by onnxruntime on pictures of the run.

    Returns:
        What it was checked on, and the largest difference from the network.

    Raises:
        UserError: the extra is not installed, more than 2 GB of weights, a network that ONNX
            cannot express, a file that cannot be written, or one that does not put out the
            same; nothing is left of it then.
    """
    check_onnx(path)
    size = sum(value.nbytes for value in model.backbone.state_dict().values())
    if size > LARGEST:
        raise UserError(
            f"--to={path}: {size / 1e9:.1f} GB of weights are more than an .onnx file holds (2): "
            "use .pt2"
        )
    pictures, kind = pictures_to_check(model.run)
    content = _converted(model).SerializeToString()
    worst = 0.0

    def write(temporary: Path) -> None:
        nonlocal worst
        temporary.write_bytes(content)
        worst = check_equal(path, model, _session(temporary), pictures)

    write_atomically(path, write)
    return {"checked_on": kind, "difference": worst}


def check_onnx(path: Path) -> None:
    """Raise a UserError that says what to install, where it is not."""
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"--to={path} needs {name}, which is not installed: pip install 'BYOL[onnx]'"
            ) from error


def _converted(model: Model) -> Any:
    import onnx

    program = traced(model)
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = torch.onnx.export(
                program, input_names=["images"], output_names=[model.output],
                dynamo=True, verbose=False, external_data=False,
            )  # fmt: skip
        assert converted is not None
        content = converted.model_proto
        content.producer_name, content.producer_version = "BYOL", __version__
        onnx.helper.set_model_props(content, pixel_metadata(model))
        onnx.checker.check_model(content, full_check=True)
    except Exception as error:  # the converter's and the checker's many ways to give up
        raise UserError(
            f"backbone {model.config.backbone!r} cannot be written as ONNX "
            f"({type(error).__name__}: {str(error).splitlines()[0][:120]}); use .pt2"
        ) from error
    finally:
        log.setLevel(level)
    return content


def _session(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def output(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return output
