"""DICOM and HEIC files: read if their libraries are installed, else counted."""

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.data import sources
from BYOL.data.decode import BrokenImageError, ImageFile, image_size, read_header, read_image
from BYOL.data.formats import supported
from BYOL.data.sources import open_images
from tests.conftest import TINY, draw_images

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
from pydicom.dataset import FileMetaDataset  # noqa: E402
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless  # noqa: E402


def scan(stored: np.ndarray, kind: str = "MONOCHROME2", bits: int = 0, **attributes: object):
    """Create a DICOM data set of stored values (H, W), (frames, H, W) or (H, W, 3)."""
    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
    colours = stored.ndim == 3 and stored.shape[2] == 3
    if stored.ndim == 3 and not colours:
        data.NumberOfFrames = len(stored)
    data.Rows, data.Columns = stored.shape[:2] if colours else stored.shape[-2:]
    data.SamplesPerPixel = 3 if colours else 1
    if colours:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = kind
    data.BitsAllocated = 8 * stored.dtype.itemsize
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    for name, value in attributes.items():
        setattr(data, name, value)
    return data


def ramp(height: int = 20, width: int = 30, white: int = 4095) -> np.ndarray:
    return np.linspace(0, white, height * width).reshape(height, width).round().astype(np.uint16)


def test_12_bit_grey_is_scaled_by_the_range_of_the_set(tmp_path):
    path = tmp_path / "scan.dcm"
    scan(ramp(), bits=12).save_as(path, enforce_file_format=True)
    assert image_size(path) == (20, 30) and read_header(path).layout == "grey"
    expected = (ramp() / 4095 * 255).round()
    for source in (path, path.read_bytes()):
        for channels in (1, 3):
            pixels = read_image(source, channels, (0, 4095)).numpy()
            assert pixels.shape == (channels, 20, 30)
            assert np.abs(pixels[0] - expected).max() <= 1
    crop = ImageFile(path, 1, (0, 4095)).crops([(0, 0, 10, 10)], [5])[0]
    assert crop.shape == (1, 5, 5)


def test_ct_values_are_hounsfield_units_without_padding(tmp_path):
    stored = np.array([[-2000, 0, 1024, 2048]], np.int16)
    data = scan(stored, RescaleSlope=1, RescaleIntercept=-1024, PixelPaddingValue=-2000)
    data.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    pixels = read_image(tmp_path / "ct.dcm", 1, (-1024, 1024))
    assert pixels[0, 0].tolist() == [0, 0, 128, 255]
    opened = open_images(str(tmp_path))
    assert opened.pixel_range is not None and -1024 <= opened.pixel_range[0] < 0
    assert opened.pixel_range[1] <= 1024


@pytest.mark.parametrize(("bits", "signed"), [(12, False), (16, False), (16, True), (8, False)])
def test_monochrome1_is_inverted(tmp_path, bits, signed):
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    kind = np.dtype(np.int16 if signed else np.uint16 if bits > 8 else np.uint8)
    stored = np.linspace(low, high, 64).round().astype(kind).reshape(8, 8)
    for name in ("MONOCHROME1", "MONOCHROME2"):
        data = scan(stored, name, bits=bits)
        data.save_as(tmp_path / f"{name}.dcm", enforce_file_format=True)
    a, b = (read_image(tmp_path / f"MONOCHROME{i}.dcm", 1, (low, high)) for i in (1, 2))
    assert (a.int() + b.int() - 255).abs().max() <= 1 and b[0, -1, -1] == 255


def test_colours_palettes_and_first_frames_are_read(tmp_path):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    scan(colours, "RGB").save_as(tmp_path / "rgb.dcm", enforce_file_format=True)
    assert (read_image(tmp_path / "rgb.dcm", 3).numpy().transpose(1, 2, 0) == colours).all()
    deep = scan(colours.astype(np.uint16) * 16, "RGB", bits=12)
    deep.save_as(tmp_path / "deep.dcm", enforce_file_format=True)
    assert (read_image(tmp_path / "deep.dcm", 3).numpy().transpose(1, 2, 0) == colours).all()

    frames = np.stack([np.full((4, 4), value, np.uint8) for value in (7, 200)])
    scan(frames).save_as(tmp_path / "loop.dcm", enforce_file_format=True)
    assert (read_image(tmp_path / "loop.dcm", 1) == 7).all()

    table = {
        f"{colour}PaletteColorLookupTable{what}": value
        for number, colour in enumerate(("Red", "Green", "Blue"))
        for what, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", ((np.arange(256) * (number + 1) // 3) << 8).astype(np.uint16).tobytes()),
        )
    }
    indices = np.array([[0, 90, 255]], np.uint8)
    painted = scan(indices, "PALETTE COLOR", **table)
    painted.save_as(tmp_path / "painted.dcm", enforce_file_format=True)
    pixels = read_image(tmp_path / "painted.dcm", 3).numpy()[:, 0]
    assert pixels.T.tolist() == [[0, 0, 0], [30, 60, 90], [85, 170, 255]]


def test_compressed_files_and_files_without_preamble_are_read(tmp_path):
    packed = scan(ramp(), bits=12)
    packed.compress(RLELossless)
    packed.save_as(tmp_path / "packed.dcm", enforce_file_format=True)
    bare = scan(ramp(), bits=12)
    del bare.file_meta
    bare.save_as(tmp_path / "bare.dcm", implicit_vr=True, little_endian=True)
    assert (tmp_path / "bare.dcm").read_bytes()[128:132] != b"DICM"
    packed, bare = (read_image(tmp_path / f"{n}.dcm", 1, (0, 4095)) for n in ("packed", "bare"))
    assert packed.equal(bare) and packed.max() == 255


DEVICE_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("MR_small_RLE", "MR_small"),
        ("MR_small_bigendian", "MR_small"),
        ("MR_small_implicit", "MR_small"),
        ("MR_small_jp2klossless", "MR_small"),
        ("MR_small_jpeg_ls_lossless", "MR_small"),
        ("SC_rgb_jpeg_gdcm", "SC_rgb_rle"),  # lossless JPEG
        ("SC_rgb_rle_16bit", "SC_rgb_rle"),
        ("SC_rgb_jls_lossy_sample", "SC_rgb_rle"),
        ("SC_rgb_jpeg_dcmtk", "SC_rgb_rle"),
    ],
)
def test_device_files_decode_equally_for_every_compression(name, like):
    if not (DEVICE_FILES / f"{name}.dcm").exists():
        pytest.skip("this pydicom has no test files")
    pixels, expected = (read_image(DEVICE_FILES / f"{n}.dcm", 3).float() for n in (name, like))
    lossy = "lossy" in name or name.endswith("dcmtk")
    assert (pixels - expected).abs().mean() < (3 if lossy else 1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("CT_small", (128, 128), ("grey", True)),
        ("JPGExtended", (1024, 256), ("grey", True)),  # 12 bits
        ("examples_palette", (350, 800), ("rgb", False)),
        ("examples_rgb_color", (240, 320), ("rgb", False)),  # starts like a TIFF
        ("examples_ybr_color", (240, 320), ("rgb", False)),  # many frames
    ],
)
def test_device_files_are_read(name, shape, kind):
    if not (DEVICE_FILES / f"{name}.dcm").exists():
        pytest.skip("this pydicom has no test files")
    file = ImageFile(DEVICE_FILES / f"{name}.dcm", 3)
    header = read_header(DEVICE_FILES / f"{name}.dcm")
    assert file.size == shape and (header.layout, header.deep) == kind
    pixels = file.decode()
    assert pixels.shape == (*shape, 3) and pixels.std() > 10


@pytest.mark.parametrize("name", ["UN_sequence", "rtplan", "MR_truncated", "badVR"])
def test_device_files_without_a_complete_image_are_rejected(name):
    if not (DEVICE_FILES / f"{name}.dcm").exists():
        pytest.skip("this pydicom has no test files")
    with pytest.raises(BrokenImageError):
        read_image(DEVICE_FILES / f"{name}.dcm", 3)


def test_damaged_dicom_files_are_rejected(tmp_path):
    path = tmp_path / "scan.dcm"
    scan(ramp(), bits=12).save_as(path, enforce_file_format=True)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 100, 132, 200, 400, len(whole) - 600):
        path.write_bytes(whole[:cut])
        with pytest.raises(BrokenImageError):
            read_image(path, 1)
    for _ in range(60):
        hurt = bytearray(whole)
        for place in rng.integers(132, 700, 5):
            hurt[place] = rng.integers(256)
        path.write_bytes(hurt)
        with contextlib.suppress(BrokenImageError):
            assert read_image(path, 1).shape[0] == 1
    scan(ramp(), Rows=4000).save_as(path, enforce_file_format=True)
    with pytest.raises(BrokenImageError):
        read_image(path, 1)


@pytest.mark.slow
def test_thousands_of_damaged_device_files_cause_no_crash():
    names = (
        "SC_rgb_jpeg_gdcm", "MR_small_jpeg_ls_lossless", "JPGExtended", "MR_small_RLE", "CT_small",
        "SC_rgb_jpeg_dcmtk", "MR_small_jp2klossless", "examples_palette",
    )  # fmt: skip
    rng, outcomes = np.random.default_rng(0), set()
    for name in names:
        path = DEVICE_FILES / f"{name}.dcm"
        if not path.exists():
            pytest.skip("this pydicom has no test files")
        for _ in range(400):
            hurt = bytearray(path.read_bytes())
            for place in rng.integers(0, len(hurt), rng.integers(1, 12)):
                hurt[place] = rng.integers(256)
            end = rng.integers(len(hurt)) if rng.random() < 0.3 else len(hurt)
            try:
                outcomes.add(read_image(bytes(hurt[:end]), 3).dtype)
            except BrokenImageError:
                outcomes.add("named")
    assert outcomes == {torch.uint8, "named"}


def test_a_folder_of_scans_is_trained_on_embedded_and_searched_for_outliers(tmp_path, capsys):
    for number, name in enumerate(("chest", "hand")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for i in range(10):
            noise = np.random.default_rng(i).integers(0, 2000, (24, 24)) + 1500 * number
            data = scan(noise.astype(np.uint16), bits=12)
            data.save_as(tmp_path / "set" / name / f"{i}.dcm", enforce_file_format=True)
    (tmp_path / "set" / "hand" / "10.dcm").write_bytes(b"no scan at all")
    argv = ["pretrain", str(tmp_path / "set"), *TINY, "--out", str(tmp_path / "run")]
    assert main([*argv, "--preset", "grey"]) == 0
    output = capsys.readouterr().err
    assert "1 channel" in output and "10.dcm" in output
    config = load_config(tmp_path / "run" / "config.yaml")
    assert config.channels == 1 and config.pixel_range == (0, 4095)
    out = tmp_path / "e.npz"
    assert main(["embed", str(tmp_path / "run"), str(tmp_path / "set"), "--out", str(out)]) == 0
    assert len(np.load(out)["embedding"]) == 20
    table = tmp_path / "found.csv"
    assert main(["outliers", str(tmp_path / "run"), "--out", str(table), "--count", "3"]) == 0


def test_heic_orientation_is_applied(tmp_path):
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32] = 250, 20, 20
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "phone.heic", quality=95, exif=exif.tobytes())
    assert image_size(tmp_path / "phone.heic") == (64, 32)
    pixels = read_image(tmp_path / "phone.heic", 3).float()
    assert pixels.shape == (3, 64, 32)
    assert pixels[0, :24].mean() > 220 and pixels[:, 40:].mean() < 25
    assert len(open_images(str(tmp_path)).train) == 1


def test_without_its_library_a_format_is_counted_and_its_extra_is_reported(tmp_path):
    draw_images(tmp_path, classes=("a",), each=3)
    for name in ("a.dcm", "b.DCM", "c.heic", "d.nii", "e.nii.gz", "f.mha", "g.czi"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "h").write_bytes(b"0" * 128 + b"DICM")
    (tmp_path / "i.zarr").mkdir()
    script = (
        "import importlib.util as u; found = u.find_spec\n"
        "gone = 'pydicom', 'pillow_heif', 'nibabel', 'SimpleITK', 'zarr'\n"
        "u.find_spec = lambda name, *a: None if name in gone else found(name, *a)\n"
        "from BYOL.data.sources import open_images\n"
        "print(*open_images('.').train.notes, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(Path(sources.__file__).parents[2]), "PATH": ""},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    (medical,) = (line for line in lines if "BYOL[medical]" in line)
    assert all(f"1 {ending}" in medical for ending in (".nii", ".nii.gz", ".mha"))
    assert {*lines} - {medical} == {
        "left out, because of an unsupported format: 1 .czi; convert them first",
        "left out: 1 .heic, read after pip install 'BYOL[heif]'",
        "left out: 1 .zarr, read after pip install 'BYOL[zarr]'",
        "left out: 2 .dcm, 1 DICOM without ending, read after pip install 'BYOL[dicom]'",
    }
    both = supported.SUFFIXES & supported.UNREAD
    assert both <= {".zarr"}  # a folder of that name is an image, a file is none
