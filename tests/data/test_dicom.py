"""DICOM values, compared with those of pydicom: its own files, and every part of the standard."""

from pathlib import Path

import numpy as np
import pytest

from BYOL.data.formats.dicom import open_dicom
from BYOL.data.formats.stored import ReadOptions, read_head

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array  # noqa: E402

OURS = Path(pydicom.__file__).parent / "data" / "test_files"
# Of the files that come with pydicom: those that are no image for this project, and why.
REASONS = {
    "holds no image but: RT Ion Plan": 2,
    "holds no image but: RT Plan": 2,
    "holds no image but: RT Structure Set": 1,
    "holds no image but: Segmentation": 2,
    "holds no image but: Basic Text SR": 2,
    "holds no image but: Comprehensive SR": 1,
    "holds no image but: 12-lead ECG Waveform": 1,
    "holds no image but: Media Storage Directory": 0,
    "holds no image but: a DICOM object of unknown kind": 0,
}


def values_of(source, frame: int | None = None, **options: object) -> np.ndarray:
    head = read_head(source) if isinstance(source, Path) else source
    opened = open_dicom(source, head, ReadOptions(frame=frame, **options))
    assert opened is not None
    return opened.read(1).values.squeeze()


def pydicom_values(path: Path, frame: int) -> np.ndarray:
    """What pydicom itself makes of a frame; deep colours have their highest 8 bits."""
    data = pydicom.dcmread(path, force=True)
    values = pixel_array(data, index=frame)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, data)
        return values >> (8 * values.dtype.itemsize - 8)
    if data.SamplesPerPixel == 3:
        return values >> (data.BitsStored - 8)
    if data.PhotometricInterpretation == "MONOCHROME1":  # low is bright: mirrored
        ends = apply_modality_lut(np.array([0, (1 << data.BitsStored) - 1]), data)
        return ends.sum() - apply_modality_lut(values, data)
    return apply_modality_lut(values, data)


def outcome(path: Path) -> str:
    """ "equal", "pydicom cannot either", or why the file is not read."""
    try:
        ours = [values_of(path), values_of(path, frame=0)]
    except Exception as error:
        reason = str(error).partition("\n")[0]
        if "holds no image" in reason or "has no pixels" in reason:
            return reason.removeprefix("it ")
        with pytest.raises(Exception):  # noqa: B017, PT011
            pydicom_values(path, 0)
        return "pydicom cannot either"
    theirs = pydicom_values(path, 0)
    for values in ours:
        known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        np.testing.assert_allclose(values[known], theirs[known], rtol=1e-12)
        assert known.mean() > 0.5
        assert (theirs[~known] < -1500).all()  # padding and what is outside the field of a CT
    return "equal"
