"""NIfTI, NRRD and MetaImage volumes, compared with nibabel and SimpleITK."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.data.decode import BrokenImageError, read_header, read_image, read_stored
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.sources import open_images

nibabel = pytest.importorskip("nibabel", reason="the extra medical is not installed")
SimpleITK = pytest.importorskip("SimpleITK", reason="the extra medical is not installed")

TYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64")
directions = st.tuples(st.permutations(range(3)), st.tuples(*[st.sampled_from([-1, 1])] * 3)).map(
    lambda pair: np.eye(3)[:, pair[0]] * pair[1]
)


def voxels(shape: tuple[int, ...], kind: str) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(kind)


def slice_of(source: Path | bytes, **options: object) -> np.ndarray:
    return read_stored(source, ReadOptions(**options)).values.squeeze()


@settings(max_examples=40, deadline=None)
@given(
    directions,
    st.sampled_from(TYPES),
    st.sampled_from([1, 2]),
    st.sampled_from([".nii", ".nii.gz"]),
    st.sampled_from([(1, 0), (2.5, -1000)]),
)
def test_nifti_slices_are_those_of_the_canonical_volume(
    tmp_path_factory, direction, kind, version, ending, scaling
):
    data = voxels((4, 5, 6), kind)
    affine = np.eye(4)
    affine[:3, :3] = direction * (1.0, 1.5, 3.0)
    image = (nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image)(data, affine)
    path = tmp_path_factory.mktemp("nifti") / f"scan{ending}"
    nibabel.save(image, path)
    if scaling != (1, 0):
        rescale(path, *scaling, version)
    canonical = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)
    for source in (path, path.read_bytes()):
        assert read_header(source).size == (canonical.shape[1], canonical.shape[0])
        for number in range(canonical.shape[2]):
            # rows from the front to the back, columns from the patient's right to the left
            expected = canonical[::-1, ::-1, number].T
            np.testing.assert_array_equal(slice_of(source, frame=number), expected)
    middle = canonical[::-1, ::-1, canonical.shape[2] // 2].T
    np.testing.assert_array_equal(slice_of(path), middle)
    np.testing.assert_array_equal(slice_of(path, slice="first"), canonical[::-1, ::-1, 0].T)
    np.testing.assert_array_equal(slice_of(path, slice="max"), canonical.max(2)[::-1, ::-1].T)


def rescale(path: Path, slope: float, intercept: float, version: int) -> None:
    """Write the scaling of a NIfTI file into its header."""
    packed = path.suffix == ".gz"
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    kind = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
    size = kind.sizeof_hdr
    header = kind(content[:size])
    header["scl_slope"], header["scl_inter"] = slope, intercept
    content = header.binaryblock + content[size:]
    path.write_bytes(gzip.compress(content) if packed else content)


@settings(max_examples=40, deadline=None)
@given(
    directions,
    st.sampled_from(TYPES),
    st.sampled_from([".nrrd", ".mha"]),
    st.booleans(),
)
def test_nrrd_and_mha_slices_are_those_of_simpleitk_in_dicoms_orientation(
    tmp_path_factory, direction, kind, ending, packed
):
    image = SimpleITK.GetImageFromArray(voxels((6, 5, 4), kind))
    image.SetDirection(direction.ravel().tolist())
    path = tmp_path_factory.mktemp("itk") / f"scan{ending}"
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    upright = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(image, "LPS"))
    for source in (path, path.read_bytes()):
        assert read_header(source).size == upright.shape[1:]
        for number, expected in enumerate(upright):
            np.testing.assert_array_equal(slice_of(source, frame=number), expected)


def test_a_patient_looks_alike_in_every_format(tmp_path):
    data = voxels((6, 5, 4), "int16")
    image = SimpleITK.GetImageFromArray(data)
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, -1))
    for ending in ("nii", "nii.gz", "nrrd", "mha"):
        SimpleITK.WriteImage(image, str(tmp_path / f"scan.{ending}"))
    first, *others = (slice_of(path, frame=1) for path in sorted(tmp_path.iterdir()))
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_times_colours_and_flat_volumes(tmp_path):
    path = tmp_path / "scan.nii"
    data = voxels((4, 5, 6, 3), "float32")
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), path)
    np.testing.assert_array_equal(slice_of(path), data[::-1, ::-1, 3, 1].T)
    np.testing.assert_array_equal(slice_of(path, frame=13), data[::-1, ::-1, 1, 2].T)

    colours = np.zeros((4, 5, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = voxels((4, 5, 2), "uint8")
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), path)
    assert read_header(path).layout == "rgb"
    np.testing.assert_array_equal(slice_of(path)[..., 1], colours["G"][::-1, ::-1, 1].T)
    assert not slice_of(path)[..., [0, 2]].any()

    for shape in ((4, 5), (4, 5, 1), (4, 1, 5), (1, 4, 5)):
        nibabel.save(nibabel.Nifti1Image(voxels(shape, "uint8"), np.eye(4)), path)
        header = read_header(path)
        assert header.size == (5, 4) and not header.notes and not header.deep

    vectors = SimpleITK.GetImageFromArray(voxels((5, 4, 3), "uint8"), isVector=True)
    SimpleITK.WriteImage(vectors, str(tmp_path / "colours.mha"))
    values = slice_of(tmp_path / "colours.mha")
    np.testing.assert_array_equal(values, SimpleITK.GetArrayFromImage(vectors))


def test_a_folder_of_volumes_has_one_range_and_says_which_slices_are_used(tmp_path):
    for number in range(3):
        data = voxels((8, 9, 5), "int16") + 1000
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / f"{number}.nii.gz")
    train = open_images(str(tmp_path)).train
    assert len(train) == 3 and train.channels == 1 and train.read(0).shape == (1, 9, 8)
    assert any("5 slices" in note and "--frames all" in note for note in train.notes)
    assert 990 < train.pixel_range[0] < 1010 and 1190 < train.pixel_range[1] < 1210


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_damaged_volumes_are_rejected(tmp_path, ending):
    image = SimpleITK.GetImageFromArray(voxels((6, 5, 4), "int16"))
    path = tmp_path / f"scan{ending}"
    SimpleITK.WriteImage(image, str(path))
    whole = path.read_bytes()
    middle = len(whole) // 2 if ending == ".nii.gz" else len(whole) - 30
    for cut in (0, 3, 40, 200, middle):
        path.write_bytes(whole[:cut])
        for source in (path, whole[:cut]):
            with pytest.raises(BrokenImageError):
                read_image(source, 1)


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "other.raw", "LIST 2D", "http://canary.invalid/x"]
)
def test_headers_that_name_another_file_are_rejected(tmp_path, place):
    image = SimpleITK.GetImageFromArray(voxels((6, 5, 4), "uint8"))
    os.mkfifo(tmp_path / "other.raw")  # opening it would wait for ever
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"))
    SimpleITK.WriteImage(image, str(tmp_path / "b.nrrd"))
    path = tmp_path / "a.mha"
    path.write_bytes(path.read_bytes().replace(b"= LOCAL", b"= " + place.encode()))
    header, _, data = (tmp_path / "b.nrrd").read_bytes().partition(b"\n\n")
    for line in (b"data file: ", b"DataFile: ", b"datafile:= "):
        content = header + b"\n" + line + place.encode() + b"\n\n" + data
        (tmp_path / "b.nrrd").write_bytes(content)
        for source in (path, tmp_path / "b.nrrd", content):
            with pytest.raises(BrokenImageError, match="in another file"):
                read_image(source, 1)
    pair = nibabel.Nifti1Image(voxels((4, 5, 6), "uint8"), np.eye(4))
    nibabel.save(nibabel.Nifti1Pair(pair.dataobj, np.eye(4)), tmp_path / "c.img")
    (tmp_path / "c.hdr").rename(tmp_path / "c.nii")
    with pytest.raises(BrokenImageError, match="in another file"):
        read_image(tmp_path / "c.nii", 1)


META = b"ObjectType = Image\nNDims = 2\nDimSize = 8 8\nElementType = MET_UCHAR\n%sElementDataFile"
RAW = b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 8 8\nencoding: raw\n%s"


@pytest.mark.parametrize(
    ("ending", "header"),
    [
        (".mha", META % b"" + b" : PLACE\nElementDataFile = LOCAL\n"),
        (".mha", META % b"" + b":PLACE\nElementDataFile = LOCAL\n"),
        (".mha", META % b"" + b" =\tPLACE\nElementDataFile = LOCAL\n"),
        (".mha", META % b"Comment = x\r" + b" = PLACE\nElementDataFile = LOCAL\n"),
        (".mha", META % b"Comment = x\n\r" + b" : PLACE\r\nElementDataFile = LOCAL\n"),
        (".mha", META % b"" + b" : LIST\nPLACE\nElementDataFile = LOCAL\n"),
        (".nrrd", RAW % b"# x\rdata file: PLACE\n\n"),
        (".nrrd", RAW % b"\rdatafile: PLACE\n\n"),
        (".nrrd", RAW % b"x:=y\rData File: LIST\nPLACE\n\n"),
        (".nrrd", RAW.replace(b"\n", b"\r") % b"data file: PLACE\r\r\n\n"),
    ],
)
def test_headers_that_itk_reads_in_another_way_are_rejected(tmp_path, ending, header):
    place, secret = tmp_path / "private.raw", bytes(range(65, 129))
    place.write_bytes(secret)
    content = header.replace(b"PLACE", str(place).encode()) + bytes(64)
    path = tmp_path / f"scan{ending}"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(BrokenImageError, match=f"in another file: convert it to one {ending}"):
            read_image(source, 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a line\n", "no field"),
        (b"NDims = 2\n", "twice"),
        (b"Comment = %s\n" % (480 * b"x"), "a long one"),
        (b"%s = x\n" % (300 * b"x"), "no field"),
        (b"Time: 10 = 9\n", "no field"),
        (b"Comment = x\0\n", "control characters"),
        (b"Comment = x\ry\n", "control characters"),
    ],
)
def test_lines_of_a_metaimage_that_can_be_read_in_two_ways_are_rejected(line, reason):
    content = META % line + b" = LOCAL\nElementDataFile = /etc/passwd\n" + bytes(64)
    with pytest.raises(BrokenImageError, match=reason):
        read_image(content, 1)


def test_headers_with_metadata_are_read(tmp_path):
    image = SimpleITK.GetImageFromArray(voxels((6, 5, 4), "uint8"))
    for key, value in (
        ("0008|0060", "MR"),
        ("a key", "v = w : x"),
        ("Name", "J\u00f6rg"),
        ("e", ""),
    ):
        image.SetMetaData(key, value)
    for ending, line_end in ((".mha", b"\r\n"), (".nrrd", b"\r\n"), (".mha", b"\n")):
        path = tmp_path / f"scan{ending}"
        SimpleITK.WriteImage(image, str(path))
        end = b"LOCAL\n" if ending == ".mha" else b"\n\n"
        header, end, data = path.read_bytes().partition(end)
        path.write_bytes((header + end).replace(b"\n", line_end) + data)
        np.testing.assert_array_equal(slice_of(path, frame=0), voxels((6, 5, 4), "uint8")[0])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_the_reason_for_a_truncated_volume_names_no_path(tmp_path, capfd, ending, packed):
    image = SimpleITK.GetImageFromArray(voxels((6, 5, 4), "uint8"))
    path = tmp_path / f"scan{ending}"
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    content = path.read_bytes()[:-30]
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(BrokenImageError, match="truncated") as caught:
            read_image(source, 1)
        assert "/" not in str(caught.value) and "Exception" not in str(caught.value)
    damaged = content[:9] + b"x" + content[9:]
    with pytest.raises(BrokenImageError) as caught:
        read_image(damaged, 1)
    assert "/" not in str(caught.value) and "Exception" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_headers_of_implausible_size_take_no_memory(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((20000, 20000, 30000))
    content = header.binaryblock + b"\0" * 100
    for source in (content, gzip.compress(content)):
        with pytest.raises(BrokenImageError):
            read_image(source, 1)
    header["dim"][1:4] = 4
    header["vox_offset"] = 1e18
    with pytest.raises(BrokenImageError, match="implausible"):
        read_image(gzip.compress(header.binaryblock + b"\0" * 1000), 1)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz"])
def test_damaged_bytes_give_an_image_or_a_named_error(tmp_path, ending):
    path = tmp_path / f"scan{ending}"
    if ending in (".npy", ".npz"):
        (np.save if ending == ".npy" else np.savez)(path, voxels((6, 8, 9), "int16"))
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels((6, 8, 9), "int16")), str(path))
    whole, rng, outcomes = path.read_bytes(), np.random.default_rng(0), set()
    for _ in range(60):
        hurt = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 700), rng.integers(1, 8)):
            hurt[place] = rng.integers(256)
        try:
            outcomes.add(read_image(bytes(hurt), 1).shape[0])
        except BrokenImageError:
            outcomes.add("named")
    assert outcomes <= {1, "named"} and "named" in outcomes


@pytest.mark.parametrize("frame", [None, 0, 4])
def test_text_of_a_metaimage_is_read_slice_by_slice(tmp_path, frame):
    values = np.arange(5 * 9 * 8, dtype=np.uint16).reshape(5, 9, 8)
    text = b"\n".join(b"%d" % value for value in values.reshape(-1)) + b"\n"
    header = (
        b"ObjectType = Image\nNDims = 3\nBinaryData = False\nDimSize = 8 9 5\n"
        b"ElementType = MET_USHORT\nElementDataFile = LOCAL\n"
    )
    path = tmp_path / "text.mha"
    path.write_bytes(header + text)
    read = read_stored(path, ReadOptions(frame=frame)).values[..., 0]
    np.testing.assert_array_equal(read, values[2 if frame is None else frame])
    path.write_bytes(header + text[:-500])
    with pytest.raises(BrokenImageError, match="truncated or damaged"):
        read_stored(path)
