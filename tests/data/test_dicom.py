"""DICOM values, compared with those of pydicom: its own files, and every part of the standard."""

import io
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.data import data_source
from BYOL.data.decode import BrokenImageError, read_image
from BYOL.data.formats.dicom import open_dicom
from BYOL.data.formats.stored import ReadOptions, read_head
from BYOL.data.sources import common_side, open_images
from BYOL.errors import UserError
from tests.data.test_supported import scan

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
from pydicom.dataset import Dataset  # noqa: E402
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array  # noqa: E402
from pydicom.uid import (  # noqa: E402
    EnhancedCTImageStorage,
    HTJ2KLossless,
    JPEG2000Lossless,
    ParametricMapStorage,
    RLELossless,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

OURS = Path(pydicom.__file__).parent / "data" / "test_files"
NO_DICOM = (".txt", ".icc", ".json", ".dump", ".gz")


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


def test_the_files_that_come_with_pydicom_decode_to_its_own_values():
    paths = [p for p in sorted(OURS.rglob("*")) if p.is_file() and p.suffix not in NO_DICOM]
    if not paths:
        pytest.skip("this pydicom has no test files")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = Counter(outcome(path) for path in paths)
    assert outcomes.pop("equal") >= 80
    assert outcomes.pop("pydicom cannot either") <= 6
    assert all(" holds no image" in f" {o}" or "has no pixels" in o for o in outcomes)
    assert not any("unknown kind" in kind for kind in outcomes if outcomes[kind] > 8)


def group(**attributes: object) -> Dataset:
    """Functional groups with one sequence of one item."""
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    groups = Dataset()
    groups.PixelValueTransformationSequence = pydicom.Sequence([item])
    return groups


def saved(tmp_path: Path, data: Dataset, name: str = "scan.dcm") -> Path:
    data.save_as(tmp_path / name, enforce_file_format=True)
    return tmp_path / name


def test_rescale_comes_from_the_groups_of_the_frame_then_the_shared_ones(tmp_path):
    stored = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
    data = scan(stored, bits=12, SOPClassUID=EnhancedCTImageStorage, RescaleSlope=9)
    data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.SharedFunctionalGroupsSequence = pydicom.Sequence(
        [group(RescaleSlope=2, RescaleIntercept=-10, PhotometricInterpretation="MONOCHROME2")]
    )
    data.PerFrameFunctionalGroupsSequence = pydicom.Sequence(
        [Dataset(), group(RescaleSlope=0.5, RescaleIntercept=100)]
    )
    path = saved(tmp_path, data)
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(values_of(source), stored[0] * 2.0 - 10)
        np.testing.assert_array_equal(values_of(source, frame=1), stored[1] * 0.5 + 100)
        np.testing.assert_array_equal(values_of(source, frames="middle"), stored[1] * 0.5 + 100)
    with pytest.raises(ValueError, match="2 frames"):
        values_of(path, frame=2)


def test_padding_and_inversion_come_from_functional_groups_too(tmp_path):
    stored = np.array([[[0, 10, 4095, 95]]], np.uint16)
    data = scan(stored, bits=12, NumberOfFrames=1)
    data.SharedFunctionalGroupsSequence = pydicom.Sequence(
        [group(PixelPaddingValue=10, PhotometricInterpretation="MONOCHROME1")]
    )
    values = values_of(saved(tmp_path, data))
    np.testing.assert_array_equal(values, [4095, np.nan, 0, 4000])


@pytest.mark.parametrize(
    ("kind", "declared"), [(np.int16, 63536), (np.int16, -2000), (np.uint16, 63536)]
)
def test_padding_may_be_declared_with_the_other_signedness(tmp_path, kind, declared):
    stored = np.array([[-2000, 0, 1200]]).astype(kind)
    data = scan(stored)
    data.add_new("PixelPaddingValue", "SS" if declared < 0 else "US", declared)
    values = values_of(saved(tmp_path, data))
    assert np.isnan(values).tolist() == [True, False, False] and values[2] == 1200


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([8, 16, 32]), st.integers(1, 32), st.integers(0, 8), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_values_are_the_stored_bits_wherever_they_are(allocated, stored_bits, shift, signed, rle):
    stored_bits = min(stored_bits, allocated)
    shift = min(shift, allocated - stored_bits)
    least = -(1 << (stored_bits - 1)) if signed else 0
    rng = np.random.default_rng(0)
    values = rng.integers(least, least + (1 << stored_bits), (5, 8), dtype=np.int64)
    mask = ((1 << stored_bits) - 1) << shift
    noise = rng.integers(0, 1 << allocated, values.shape, dtype=np.int64) & ~mask
    words = (((values << shift) & mask) | noise) & ((1 << allocated) - 1)
    kind = np.dtype(f"i{allocated // 8}" if signed else f"u{allocated // 8}")
    words = words.astype(f"u{allocated // 8}").view(kind)
    data = scan(words, bits=stored_bits, SOPClassUID=SecondaryCaptureImageStorage)
    data.HighBit = stored_bits - 1 + shift
    if rle and allocated - 8 < stored_bits <= 16:  # what pydicom encodes
        data.compress(RLELossless)
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    np.testing.assert_array_equal(values_of(file.getvalue()), values)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_high_throughput_jpeg_2000(tmp_path, bits, signed):
    imagecodecs = pytest.importorskip("imagecodecs")
    if not imagecodecs.HTJ2K.available:
        pytest.skip("this imagecodecs has no HTJ2K")
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    least = -(1 << (bits - 1)) if signed else 0
    values = np.random.default_rng(0).integers(least, least + (1 << bits), (64, 48)).astype(kind)
    data = scan(values, bits=bits, SOPClassUID=SecondaryCaptureImageStorage)
    data.file_meta.TransferSyntaxUID = HTJ2KLossless
    encoded = imagecodecs.htj2k_encode(values, reversible=True)
    data.PixelData = pydicom.encaps.encapsulate([encoded])
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    np.testing.assert_array_equal(values_of(saved(tmp_path, data)), values)


def test_high_throughput_jpeg_2000_and_deep_jpeg_2000_in_colour(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    colours = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    data = scan(colours, "YBR_RCT")
    data.file_meta.TransferSyntaxUID = HTJ2KLossless
    data.PixelData = pydicom.encaps.encapsulate(
        [imagecodecs.htj2k_encode(colours, reversible=True)]
    )
    data["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(values_of(saved(tmp_path, data)), colours)

    deep = colours.astype(np.uint16) * 16
    data = scan(deep, "RGB", bits=12)
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    encoded = imagecodecs.jpeg2k_encode(deep, bitspersample=12, reversible=True, codecformat="J2K")
    data.PixelData = pydicom.encaps.encapsulate([encoded])
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    np.testing.assert_array_equal(values_of(saved(tmp_path, data)), colours)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floating_point_pixels(tmp_path, kind):
    values = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(kind)
    values[0, 0, 0] = -9.5
    data = scan(values.view(np.uint32 if kind is np.float32 else np.uint64))
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(data, name)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = ParametricMapStorage
    data.NumberOfFrames, data.Rows, data.Columns = values.shape
    name = "FloatPixel" if kind is np.float32 else "DoubleFloatPixel"
    setattr(data, f"{name}Data", values.tobytes())
    setattr(data, f"{name}PaddingValue", -9.5)
    path = saved(tmp_path, data)
    expected = np.where(values == -9.5, np.nan, values)
    for frame in (0, 1):
        np.testing.assert_array_equal(values_of(path, frame=frame), expected[frame])
    assert values_of(path).dtype == kind


def test_values_far_below_the_field_of_a_ct_are_no_data(tmp_path):
    stored = np.array([[-3024, -2000, -1024, 0, 3000]], np.int16)
    values = values_of(saved(tmp_path, scan(stored, Modality="CT")))
    np.testing.assert_array_equal(values, [np.nan, np.nan, -1024, 0, 3000])
    data = scan(stored + 1024, RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_array_equal(values_of(saved(tmp_path, data)), values)
    data = scan(stored, Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    np.testing.assert_array_equal(values_of(saved(tmp_path, data)), stored[0])


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (SegmentationStorage, "Segmentation"),
        ("1.2.840.10008.5.1.4.1.1.66.7", ""),  # a label map, which older pydicom has no name for
        ("1.2.840.10008.5.1.4.1.1.11.1", "Presentation State"),
    ],
)
def test_objects_whose_pixels_are_no_image_are_rejected_by_name(tmp_path, kind, named):
    data = scan(np.zeros((4, 5), np.uint8), SOPClassUID=kind)
    data.file_meta.MediaStorageSOPClassUID = kind
    path = saved(tmp_path, data)
    for source in (path, path.read_bytes()):
        with pytest.raises(BrokenImageError, match=f"no image but: .*{named}"):
            read_image(source, 1)


def test_objects_without_pixels_are_rejected_by_name(tmp_path):
    data = scan(np.zeros((4, 5), np.uint8), SOPClassUID=RTStructureSetStorage)
    for name in ("Rows", "Columns", "PixelData"):
        delattr(data, name)
    with pytest.raises(BrokenImageError, match="RT Structure Set"):
        read_image(saved(tmp_path, data), 1)


@pytest.mark.parametrize("name", ["PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated"])
def test_what_is_missing_in_the_header_is_named(tmp_path, name):
    data = scan(np.zeros((4, 5), np.uint8))
    delattr(data, name)
    with pytest.raises(BrokenImageError, match=f"its header has no {name}"):
        read_image(saved(tmp_path, data), 1)


def palette(bits: int, entries: list[np.ndarray], first: int = 0) -> dict[str, object]:
    """The attributes of a palette: red, green and blue ``entries``."""
    named = zip(("Red", "Green", "Blue"), entries, strict=True)
    return {
        f"{colour}PaletteColorLookupTable{what}": value
        for colour, table in named
        for what, value in (("Descriptor", [len(table), first, bits]), ("Data", table.tobytes()))
    }


@pytest.mark.parametrize(
    ("bits", "kind", "factor"),
    [(8, "u1", 1), (8, "u2", 1), (16, "u2", 1), (16, "u2", 257), (8, "u2", 257), (12, "u2", 16)],
)
def test_entries_of_palettes_are_read_with_the_bits_that_they_have(tmp_path, bits, kind, factor):
    """Some files keep entries of 8 bits in words of 16, whatever they declare."""
    indices = np.random.default_rng(0).integers(0, 256, (8, 10), np.uint8)
    steps = np.arange(256)
    tables = [(table * factor).astype(kind) for table in (steps, steps[::-1], 0 * steps)]
    data = scan(indices, "PALETTE COLOR", **palette(bits, tables))
    expected = np.dstack([indices, 255 - indices, 0 * indices])
    np.testing.assert_array_equal(values_of(saved(tmp_path, data)), expected)


def test_palettes_of_any_length_are_read(tmp_path):
    indices = np.array([[0, 4, 5, 300, 310, 900]], np.uint16)  # the palette is for 5 to 309
    table = (np.arange(305) % 256).astype(np.uint8)
    tables = [np.append(part, np.uint8(0)) for part in (table, table[::-1], table)]
    attributes = palette(8, tables, first=5)
    for colour in ("Red", "Green", "Blue"):  # an even number of bytes, of which the last is none
        attributes[f"{colour}PaletteColorLookupTableDescriptor"] = [305, 5, 8]
    pixels = values_of(saved(tmp_path, scan(indices, "PALETTE COLOR", **attributes)))
    assert pixels[:, 0].tolist() == [0, 0, 0, 295 % 256, 304 % 256, 304 % 256]
    attributes["RedPaletteColorLookupTableDescriptor"] = [999, 5, 8]
    with pytest.raises(BrokenImageError, match="fewer than the declared 999 entries"):
        read_image(saved(tmp_path, scan(indices, "PALETTE COLOR", **attributes)), 3)


def test_enhanced_ct_has_hounsfield_units(tmp_path):
    units = np.array([[-1000, -500, 0, 400], [40, 60, 1000, 2000]], np.int16)
    data = scan(np.stack([(units + 1024).astype(np.uint16)] * 2), bits=12)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    shared = group(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    data.SharedFunctionalGroupsSequence = pydicom.Sequence([shared])
    pixels = read_image(saved(tmp_path, data), 1, (-1000, 400))
    assert pixels[0].tolist() == [[0, 91, 182, 255], [189, 193, 255, 255]]


def test_folders_of_files_without_endings_are_read_by_their_content(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for name in ("IM0001", "1.2.840.113619.2.55.17", "scan.IMA", "named.dcm", "DICOMDIR"):
        saved(folder, scan(np.arange(20, dtype=np.uint16).reshape(4, 5), bits=12), name)
    (folder / "README").write_text("no image")
    (folder / "old.ima").write_bytes(b"x" * 300)
    train = open_images(str(folder)).train
    names = [train.sample_name(i) for i in range(len(train))]
    assert names == ["1.2.840.113619.2.55.17", "IM0001", "named.dcm", "scan.IMA"]
    assert all((train.read(i) == train.read(0)).all() for i in range(4))
    assert any("1 .ima" in note and "1 without ending" in note for note in train.notes)


@pytest.mark.parametrize("name", ["IM0001", "1.2.840.113619.2.55.17", "scan.IMA", "x.ima"])
def test_one_file_without_ending_is_an_image_by_its_content(tmp_path, name, monkeypatch):
    values = np.arange(20, dtype=np.uint16).reshape(4, 5)
    path = saved(tmp_path, scan(values, bits=12), name)
    splits = open_images(str(path), pixel_range=(0, 20))
    assert len(splits.train) == 1 and splits.train.sample_name(0) == name
    assert splits.train.read(0)[0].tolist() == read_image(path, 1, (0, 20))[0].tolist()
    assert common_side(str(path)) == 5
    monkeypatch.setattr(data_source, "READS_DICOM", False)
    with pytest.raises(UserError, match=r"is read after pip install 'BYOL\[dicom\]'"):
        open_images(str(path))


@pytest.mark.parametrize("name", ["README", "old.ima", "DICOMDIR"])
def test_other_files_without_ending_are_no_images(tmp_path, name):
    (tmp_path / name).write_bytes(b"x" * 300)
    with pytest.raises(UserError, match="is neither a folder nor an image"):
        open_images(str(tmp_path / name))
