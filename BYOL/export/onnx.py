"""Export as ONNX, for runtimes in other languages."""

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from BYOL import __version__
from BYOL._files import write_atomically
from BYOL.errors import UserError, first_line
from BYOL.export.equality_check import check_equal, images_to_check
from BYOL.export.exportable import ExportModel
from BYOL.export.pixel_network import export_graph, pixel_metadata

REQUIRED_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
LARGEST = 2_000_000_000  # bytes; the limit of a single ONNX file


def export_onnx(model: ExportModel, path: Path) -> dict[str, Any]:
    """Write an .onnx file: ``images`` (pixels in [0, 1], any batch size) → ``features``.

    With a classifier, the output is ``probabilities`` or ``values``. The file is checked by onnx's
    checker, and then against ``model`` by running it with onnxruntime on images of the run.

    Args:
        model: the backbone or classifier.
        path: the file to write.

    Returns:
        ``checked_on``, a description of the images, and ``difference``, the largest difference.

    Raises:
        UserError: a required package is not installed, the weights exceed 2 GB, ONNX cannot
            express the network, the file cannot be written, or its outputs differ. Nothing is left
            behind in this case.
    """
    check_onnx(path)
    size = sum(value.nbytes for value in model.backbone.state_dict().values())
    if size > LARGEST:
        raise UserError(
            f"--to={path}: {size / 1e9:.1f} GB of weights exceed the limit of an .onnx file (2 "
            "GB): use .pt2"
        )
    images, description = images_to_check(model.run)
    content = _converted(model).SerializeToString()
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        temporary.write_bytes(content)
        difference = check_equal(path, model, _session(temporary), images)

    write_atomically(path, write)
    return {"checked_on": description, "difference": difference}


def check_onnx(path: Path) -> None:
    """Raise a UserError that names the package to install, if a required package is missing."""
    for name in REQUIRED_PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"--to={path} needs {name}, which is not installed: pip install 'BYOL[onnx]'"
            ) from error


def _converted(model: ExportModel) -> Any:
    import onnx

    program = export_graph(model)
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
    except Exception as error:  # converter and checker raise many kinds of exceptions
        raise UserError(
            f"backbone {model.config.backbone!r} cannot be written as ONNX "
            f"({type(error).__name__}: {first_line(error, 120)}); use .pt2"
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
