"""Images in NumPy files, HDF5 files and Zarr folders, compared with the arrays they hold."""

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.data.decode import BrokenImageError, read_header, read_image, read_stored
from BYOL.data.formats.array_files import band_axis
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.sources import common_side, open_images
from BYOL.errors import UserError
from tests.conftest import TINY

h5py = pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")

KINDS = ("bool", "uint8", "int8", "uint16", ">i2", "int32", "uint64", "float16", "float32", ">f8")


def numbers(shape: tuple[int, ...], kind: str = "uint16") -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 120).astype(kind)


def stored(source: Path | bytes, **options: object) -> np.ndarray:
    return read_stored(source, ReadOptions(**options)).values


@given(
    st.sampled_from(KINDS), st.integers(0, 13), st.booleans(), st.sampled_from(["npy", "npz", "z"])
)
@settings(max_examples=60, deadline=None)
def test_arrays_are_read_as_numpy_reads_them(tmp_path_factory, kind, bands, first, container):
    shape = (40, 33) if not bands else (bands, 40, 33) if first else (40, 33, bands)
    array = numbers(shape, kind)
    path = tmp_path_factory.mktemp("arrays") / f"a.{container.replace('z', 'npz')[-3:]}"
    save = {"npy": np.save, "npz": np.savez, "z": np.savez_compressed}[container]
    save(path, array)
    expected = array if bands == 0 or not first else np.moveaxis(array, 0, -1)
    expected = expected[..., None] if expected.ndim == 2 else expected
    expected = expected.astype(np.uint8) * 255 if kind == "bool" else expected
    for source in (path, path.read_bytes()):
        values = stored(source)
        assert values.dtype == expected.dtype and values.shape == expected.shape
        np.testing.assert_array_equal(values, expected)
    header = read_header(path)
    assert header.size == (40, 33) and header.deep == (kind not in ("bool", "uint8"))
    assert header.layout == {0: "grey", 1: "grey", 3: "rgb"}.get(bands, "bands")


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((40, 30), None), ((40, 30, 3), 2), ((3, 40, 30), 0), ((13, 64, 64), 0), ((64, 64, 32), 2),
        ((40, 64, 64), None), ((64, 64, 40), None), ((5, 5, 5), None), ((1, 40, 30), 0),
    ],
)  # fmt: skip
def test_a_short_axis_holds_bands_and_a_long_one_slices(shape, axis):
    assert band_axis(shape) == axis


def test_volumes_are_slices_and_not_channels(tmp_path):
    volume = numbers((40, 33, 50))
    np.save(tmp_path / "a.npy", volume)
    header = read_header(tmp_path / "a.npy")
    assert header.channels == 1 and "40 slices" in header.notes[0]
    np.testing.assert_array_equal(stored(tmp_path / "a.npy")[..., 0], volume[20])
    np.testing.assert_array_equal(stored(tmp_path / "a.npy", slice="max")[..., 0], volume.max(0))
    highest = volume.max()
    data = np.where(volume == highest, volume.min(), volume).max(0)
    data[0, 0] = volume[:, 0, 0] = highest  # no data in every slice
    np.save(tmp_path / "a.npy", volume)
    shown = stored(tmp_path / "a.npy", slice="max", no_data=float(highest))
    np.testing.assert_array_equal(shown[..., 0], data)
    images = open_images(str(tmp_path), frames="all").train
    assert len(images) == 40 and set(images.groups) == {0}


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"a": numbers((4, 5)), "b": numbers((4, 5))}, "it holds a, b"),
        ({"image": numbers((4,))}, r"its shape is \(4,\)"),
        ({"image": numbers((2, 3, 4, 5))}, "its shape is"),
        ({"image": np.zeros((4, 5), complex)}, "complex"),
        ({"image": np.array([[{}]], dtype=object)}, "object|pickle"),
        ({"image": np.zeros((0, 5))}, "its shape"),
    ],
)
def test_arrays_that_are_no_image_are_rejected(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BrokenImageError, match=reason):
        read_image(tmp_path / "a.npz", 1)


class Attack:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_in_arrays_are_never_read(tmp_path):
    hostile = np.array([[Attack(tmp_path / "ran")]], dtype=object)
    np.save(tmp_path / "a.npy", hostile, allow_pickle=True)
    np.savez(tmp_path / "b.npz", image=hostile)
    for name in ("a.npy", "b.npz"):
        for source in (tmp_path / name, (tmp_path / name).read_bytes()):
            with pytest.raises(BrokenImageError):
                read_image(source, 1)
    assert not (tmp_path / "ran").exists()


def test_arrays_that_declare_more_than_memory_are_rejected(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (200_000, 200_000)}
    )
    with pytest.raises(BrokenImageError, match=r"320\.0 GB|million pixels"):
        read_image(header.getvalue() + b"\0" * 64, 1)
    (tmp_path / "a.npy").write_bytes(header.getvalue() + b"\0" * 64)
    with pytest.raises(BrokenImageError):
        read_image(tmp_path / "a.npy", 1)


@pytest.fixture
def hdf5(tmp_path) -> Path:
    path = tmp_path / "set.h5"
    with h5py.File(path, "w") as file:
        images = numbers((20, 16, 18, 3), "uint8")
        images[10:] //= 4
        file.create_dataset("train/x", data=images, chunks=(4, 16, 18, 3), compression="gzip")
        file["train/y"] = np.arange(20) // 10
        file["other"] = numbers((20, 4))
    return path


def test_one_array_of_an_hdf5_file_is_a_set(hdf5, tmp_path, capsys):
    with h5py.File(hdf5) as file:
        expected = file["train/x"][:].transpose(0, 3, 1, 2)
    for data in (f"{hdf5}::train/x", f"{hdf5}::/train/x", str(hdf5)):
        train = open_images(data).train
        np.testing.assert_array_equal(train.data.numpy(), expected)
        assert train.labels.tolist() == [0] * 10 + [1] * 10
        assert common_side(data) == 18
    run = tmp_path / "run"
    argv = ["pretrain", f"{hdf5}::train/x", *TINY, f"--out={run}", "--no-report", "--epochs=1"]
    assert main(argv) == 0
    assert load_config(run / "config.yaml").data == f"{hdf5}::train/x"
    assert main(["embed", str(run), "--out", str(tmp_path / "e.npy")]) == 0
    assert len(np.load(tmp_path / "e.npy")) == 20


def test_values_of_high_depth_in_hdf5_get_a_range(tmp_path):
    values = numbers((6, 12, 14), "float32") * 10 - 300
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["volume"] = values
    splits = open_images(f"{tmp_path / 'a.hdf5'}::volume")
    assert splits.train.data.shape == (6, 1, 12, 14) and splits.pixel_range[0] < -250


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("train", "is a group"), ("none", "no array 'none'"), ("train/x/y", "no array"),
        ("outside", "links are not followed"), ("soft", "links are not followed"),
        ("raw", "are in other files"), ("virtual", "are in other files"), ("text", "real numbers"),
    ],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_hdf5_files_lead_to_no_other_file(hdf5, tmp_path, name, reason):
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for ever
    layout = h5py.VirtualLayout((4, 5, 6), "u1")
    layout[:] = h5py.VirtualSource(str(tmp_path / "pipe"), "x", (4, 5, 6))
    with h5py.File(hdf5, "a") as file:
        file["outside"] = h5py.ExternalLink(str(tmp_path / "pipe"), "x")
        file["soft"] = h5py.SoftLink("/train/x")
        place = [(str(tmp_path / "raw"), 0, 120)]
        file.create_dataset("raw", shape=(4, 5, 6), dtype="u1", external=place)
        file.create_virtual_dataset("virtual", layout)
        file["text"] = np.array([["a"]], dtype=h5py.string_dtype())
    with pytest.raises(UserError, match=reason):
        open_images(f"{hdf5}::{name}")


def test_hdf5_files_name_their_arrays(hdf5, tmp_path):
    with h5py.File(hdf5, "a") as file:
        file["more"] = numbers((3, 4, 5))
    with pytest.raises(UserError, match=r"name one array, .*more.*train/x"):
        open_images(str(hdf5))
    (tmp_path / "bad.h5").write_bytes(b"no hdf5")
    with pytest.raises(UserError, match="cannot be read"):
        open_images(f"{tmp_path / 'bad.h5'}::x")


def ome(folder: Path, values: np.ndarray, axes: Iterable[Any], version: int) -> Path:
    """An OME-Zarr image of two levels, of version 0.4 or 0.5."""
    group = zarr.open_group(str(folder), mode="w", zarr_format=version)
    for level in range(2):
        part = values[..., :: level + 1, :: level + 1]
        array = group.create_array(f"s{level}", shape=part.shape, dtype=part.dtype)
        array[:] = part
    scales = [
        {
            "axes": [name if isinstance(name, dict) else {"name": name} for name in axes],
            "datasets": [{"path": f"s{level}"} for level in range(2)],
        }
    ]
    meta = {"multiscales": scales}
    group.attrs.update(meta if version == 2 else {"ome": {**meta, "version": "0.5"}})
    return folder


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "cyx", "zyx", "yx", "tyx"])
def test_ome_zarr_images_are_planes_with_their_channels(tmp_path, version, axes):
    sizes = {"t": 3, "c": 2, "z": 5, "y": 20, "x": 24}
    values = numbers(tuple(sizes[a] for a in axes))
    path = ome(tmp_path / "cells.ome.zarr", values, axes, version)
    place = {"t": 1, "z": 2}
    expected = values[tuple(place.get(a, slice(None)) for a in axes)]
    expected = np.moveaxis(expected, 0, -1) if "c" in axes else expected[..., None]
    np.testing.assert_array_equal(stored(path), expected)
    images = open_images(str(tmp_path)).train
    assert len(images) == 1 and images.channels == (2 if "c" in axes else 1)
    assert images.read(0).shape == (images.channels, 20, 24)
    assert len(open_images(str(path)).train) == 1


def axis(name: str, kind: str | None = None) -> dict[str, str]:
    return {"name": name} if kind is None else {"name": name, "type": kind}


@pytest.mark.parametrize(
    "axes",
    [
        [axis("time", "time"), axis("channel", "channel"), *map(axis, "zyx")],
        [axis("time"), axis("Channel"), *map(axis, "ZYX")],
        [axis("frames", "time"), axis("stain", "channel"), *(axis(n, "space") for n in "zyx")],
        [axis("t"), axis("c"), *(axis(n, "space") for n in ("dv", "ap", "lr"))],
        [axis("t"), axis("c"), axis("depth"), axis("height"), axis("width")],
    ],
)
def test_axes_are_known_by_their_names_or_types(tmp_path, axes):
    values = numbers((3, 2, 5, 20, 24))
    path = ome(tmp_path / "cells.ome.zarr", values, axes, 2)
    np.testing.assert_array_equal(stored(path), np.moveaxis(values[1, :, 2], 0, -1))


@pytest.mark.parametrize(
    "names", [["angle", "y", "x"], ["y", "y", "x"], ["y", "x"], ["", "y", "x"]]
)
def test_axes_that_are_unknown_are_named(tmp_path, names):
    path = ome(tmp_path / "a.zarr", numbers((5, 20, 24)), names, 2)
    with pytest.raises(BrokenImageError, match=f"its axes are {', '.join(names)}; t, c, z, y, x"):
        read_image(path, 1)


def test_plain_zarr_arrays(tmp_path):
    values = numbers((20, 24, 3), "uint8")
    for version in (2, 3):
        array = zarr.create_array(
            str(tmp_path / f"{version}.zarr"), shape=values.shape, dtype="u1", zarr_format=version
        )
        array[:] = values
        np.testing.assert_array_equal(stored(tmp_path / f"{version}.zarr"), values)
    images = numbers((6, 12, 14), "uint8")
    array = zarr.open_group(str(tmp_path / "set.zarr"), mode="w").create_array(
        "a/b", shape=images.shape, dtype="u1"
    )
    array[:] = images
    opened = open_images(f"{tmp_path / 'set.zarr'}::a/b").train
    np.testing.assert_array_equal(opened.data.numpy()[:, 0], images)


@pytest.mark.parametrize("codec", ["pickle", "numcodecs.pickle", "json2", "vlen-array", "unknown"])
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_codecs_that_execute_or_are_unknown_are_rejected(tmp_path, codec, version):
    path = tmp_path / "a.zarr"
    array = zarr.create_array(str(path), shape=(8, 9), dtype="u1", zarr_format=version)
    array[:] = 7
    file = path / ("zarr.json" if version == 3 else ".zarray")
    meta = json.loads(file.read_text())
    if version == 3:
        meta["codecs"] = [{"name": codec}]
    else:
        meta["filters"] = [{"id": codec}]
    file.write_text(json.dumps(meta))
    with pytest.raises(BrokenImageError, match="is not accepted"):
        read_image(path, 1)
    with pytest.raises(UserError, match="is not accepted"):
        open_images(f"{path}::")


@pytest.mark.parametrize("path", ["../other", "/etc", "https://canary.invalid/x", "s3://b/x", "."])
def test_zarr_metadata_lead_to_no_other_place(tmp_path, path):
    ome(tmp_path / "other.zarr", numbers((8, 9)), "yx", 2)
    folder = ome(tmp_path / "a.zarr", numbers((8, 9)), "yx", 2)
    meta = json.loads((folder / ".zattrs").read_text())
    meta["multiscales"][0]["datasets"][0]["path"] = path
    (folder / ".zattrs").write_text(json.dumps(meta))
    with pytest.raises(BrokenImageError, match=r"no name of an array|no array"):
        read_image(folder, 1)


def test_damaged_zarr_folders_are_rejected(tmp_path):
    folder = ome(tmp_path / "a.zarr", numbers((8, 9)), "yx", 2)
    for text in ("", "{", "[]", '{"shape": [1e99]}', '{"shape": [900000, 900000]}'):
        (folder / "s0" / ".zarray").write_text(text)
        with pytest.raises(BrokenImageError):
            read_image(folder, 1)
    empty = tmp_path / "empty.zarr"
    empty.mkdir()
    with pytest.raises(BrokenImageError):
        read_image(empty, 1)
    assert len(open_images(str(tmp_path)).train) == 1  # a folder without metadata is none
