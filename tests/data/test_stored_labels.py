"""Labels inside HDF5, Zarr, Parquet and tar files."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from BYOL.data.dataset import unlabelled_reason
from BYOL.data.sources import open_images

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
IMAGES = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(6, 8, 8)
WORDS = np.array(["dog", "cat", "é", "cat", "dog", "cat"])
NUMBERS = [1, 0, 2, 0, 1, 0]  # of WORDS in their order


def png(image) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def hdf5(path, **arrays) -> str:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            is_text = isinstance(values, list)
            kind = h5py.string_dtype() if is_text else None
            file.create_dataset(f"set/{name}", data=values, dtype=kind)
    return f"{path}::set/images"


def zarr_folder(path, **arrays) -> str:
    group = zarr.open_group(str(path), mode="w").create_group("set")
    for name, values in arrays.items():
        group.create_array(name, data=values)
    return f"{path}::set/images"


def labels_of(data, cache=None):
    splits = open_images(str(data), **({"data_root": str(cache)} if cache else {}))
    images = splits.labelled or splits.train
    names = [images.classes[i] for i in images.labels] if images.labels is not None else None
    return names, splits.train.remarks


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.char.encode(WORDS, "utf-8"), WORDS.tolist()),
        (WORDS.tolist(), WORDS.tolist()),
        (np.array(NUMBERS), list(map(str, NUMBERS))),
        (np.array([b"a", b"\xff", b"a", b"b", b"a", b"b"]), ["a", "\\xff", "a", "b", "a", "b"]),
    ],
)
@pytest.mark.parametrize("name", ["labels", "y", "Label"])
def test_labels_next_to_images_in_hdf5_are_words_or_numbers(tmp_path, labels, names, name):
    found, remarks = labels_of(hdf5(tmp_path / "a.h5", images=IMAGES, **{name: labels}))
    assert found == names and remarks == ()


@pytest.mark.filterwarnings("ignore:The data type")
@pytest.mark.parametrize("labels", [WORDS, np.array(NUMBERS)])
@pytest.mark.parametrize("name", ["labels", "y"])
def test_labels_next_to_images_in_zarr_are_words_or_numbers(tmp_path, labels, name):
    found, remarks = labels_of(zarr_folder(tmp_path / "a.zarr", images=IMAGES, **{name: labels}))
    assert found == list(map(str, labels)) and remarks == ()


@pytest.mark.parametrize(("write", "ending"), [(hdf5, "h5"), (zarr_folder, "zarr")])
def test_labels_that_do_not_fit_are_named(tmp_path, write, ending):
    masks = np.zeros((6, 8, 8), np.uint8)
    data = write(tmp_path / f"a.{ending}", images=IMAGES, labels=masks, y=np.zeros(5))
    found, remarks = labels_of(data)
    reason = "left out, next to images (6, 8, 8): labels (6, 8, 8), y (5,)"
    assert found is None and remarks == (f"no labels: {reason}",)
    assert unlabelled_reason(open_images(data).train) == f" ({reason})"
    both = write(tmp_path / f"b.{ending}", images=IMAGES, labels=np.array(NUMBERS), y=np.zeros(6))
    found, remarks = labels_of(both)
    assert found == list(map(str, NUMBERS))
    assert remarks == ("left out, next to images (6, 8, 8): y (6,)",)


def test_test_images_have_their_own_labels(tmp_path):
    arrays = {"x_test": IMAGES, "y_train": np.zeros(6, int), "y_test": np.array(NUMBERS)}
    data = hdf5(tmp_path / "a.h5", **arrays).replace("::set/images", "::set/x_test")
    assert labels_of(data)[0] == list(map(str, NUMBERS))
    del arrays["y_test"]
    data = hdf5(tmp_path / "b.h5", **arrays).replace("::set/images", "::set/x_test")
    assert labels_of(data)[0] is None


def test_words_of_bytes_in_an_npz_are_classes(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.char.encode(WORDS, "utf-8"))
    assert labels_of(tmp_path / "a.npz")[0] == WORDS.tolist()


def parquet(path, column, images=IMAGES, **more) -> None:
    rows = [{"bytes": png(image), "path": None} for image in images]
    pq.write_table(pa.table({"image": rows, "label": column, **more}), path)


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (pa.array(WORDS.tolist()), WORDS.tolist()),
        (pa.array(WORDS.tolist(), pa.large_string()), WORDS.tolist()),
        (pa.array(WORDS.tolist()).dictionary_encode(), WORDS.tolist()),
        (pa.array([1.0, 0.0, 2.0, 0.0, 1.0, 0.0]), list("102010")),
        (pa.array([True, False] * 3), ["True", "False"] * 3),
        (pa.array(NUMBERS).dictionary_encode(), list("102010")),
        (pa.array(NUMBERS, pa.uint8()), list("102010")),
    ],
)
def test_labels_in_parquet_are_words_integers_or_switches(tmp_path, column, names):
    parquet(tmp_path / "a.parquet", column)
    assert labels_of(tmp_path / "a.parquet") == (names, ())


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (pa.array([0.5, 1, 2, 3, 4, 5]), "'label' holds no classes but double"),
        (pa.array([[0, 1]] * 6), "'label' holds no classes but list<"),
        (pa.array(["a", None, "b", "", "NA", "a"]), "3 of 6 images have none"),
        (pa.array([0, 1, None, 0, 1, 0]), "1 of 6 images have none"),
        (pa.array([0, 1, 1 << 40, 0, 1, 0]), "the label 1099511627776 is too large"),
    ],
)
def test_labels_of_parquet_that_are_not_used_are_named(tmp_path, column, reason):
    parquet(tmp_path / "a.parquet", column)
    found, remarks = labels_of(tmp_path / "a.parquet")
    assert found is None and len(remarks) == 1
    assert remarks[0].startswith("no labels: ") and reason in remarks[0]


def test_a_second_column_is_used_if_the_first_holds_no_classes(tmp_path):
    parquet(tmp_path / "a.parquet", [[0, 1]] * 6, fine_label=pa.array(NUMBERS))
    assert labels_of(tmp_path / "a.parquet") == (list("102010"), ())


def archive(path, labels) -> None:
    with tarfile.open(path, "w") as tar:
        for number, label in enumerate(labels):
            for ending, content in (("png", png(IMAGES[number])), ("cls", label)):
                info = tarfile.TarInfo(f"{number}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("cached", [False, True])
def test_words_in_tar_and_parquet_are_the_same_classes_in_every_shard(tmp_path, cached):
    kinds = {"tar": archive, "parquet": lambda path, words: parquet(path, texts(words), IMAGES[:2])}
    parts = {"train-0": (b"dog", b"cat\n"), "train-1": (b"cat", b"3"), "test-0": (b"ant", b"cat")}
    for kind, write in kinds.items():
        for name, words in parts.items():
            (tmp_path / kind).mkdir(exist_ok=True)
            write(tmp_path / kind / f"{name}.{kind}", words)
        for _ in range(1 + cached):
            splits = open_images(str(tmp_path / kind), data_root=str(tmp_path / "cache"))
            train, test = splits.train, splits.test
            assert [train.classes[i] for i in train.labels] == ["dog", "cat", "cat", "3"]
            assert train.classes[:3] == ("3", "cat", "dog")
            assert test.classes == ("3", "cat", "dog", "ant") and test.labels.tolist() == [3, 1]


def texts(words) -> list[str]:
    return [word.decode().strip() for word in words]


def test_labels_of_tar_that_are_not_used_are_named(tmp_path):
    archive(tmp_path / "a.tar", (b"x" * 300, b"\xff\xfe", b"a\nb", b"cat"))
    images = open_images(str(tmp_path / "a.tar"), data_root=str(tmp_path)).train
    assert images.labels is None
    notes = "\n".join(images.notes)
    assert "3 .cls files are not used" in notes and "no labels: 3 of 4 images have none" in notes
    archive(tmp_path / "b.tar", (b"-1", b"1", b"", b"0"))
    assert labels_of(tmp_path / "b.tar", tmp_path)[1] == ("no labels: 2 of 4 images have none",)
