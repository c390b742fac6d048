"""Shards: their content, their order, and untrusted archives."""

import io
import os
import tarfile

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from BYOL.cli.main import main
from BYOL.config.data_names import expand_braces
from BYOL.data import sampler as sampling
from BYOL.data.eval_loader import eval_batches
from BYOL.data.labels import label_splits, read_labels
from BYOL.data.sampler import epoch_sampler
from BYOL.data.shards import tar as tar_module
from BYOL.data.shards import write as shards_write
from BYOL.data.shards.dataset import StreamedImages
from BYOL.data.shards.index import ShardIndex
from BYOL.data.shards.order import StreamOrder, Streams
from BYOL.data.shards.urls import is_sharded
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import common_side, open_images
from BYOL.data.train_loader import train_loader
from BYOL.data.workers import loaded_batches
from BYOL.errors import MachineError, UserError
from BYOL.views.config import paper_views
from tests.conftest import draw_images

CPU = torch.device("cpu")
EMPTY = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images, and the same images as tar and as Parquet shards."""
    root = tmp_path_factory.mktemp("shards")
    draw_images(root / "images", each=20)
    images = open_images(str(root / "images")).train
    for kind in ("tar", "parquet"):
        pack({"train": images}, root / kind, Packing(16_000, kind, 3))
    return root


def opened(data, cache, **kwargs) -> StreamedImages:
    images = open_images(str(data), data_root=str(cache), **kwargs).train
    assert isinstance(images, StreamedImages)
    return images


def contents(images) -> list[bytes]:
    return sorted(images.encoded(i) for i in range(len(images)))


def files(folder) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*.png"))


def patterns(place) -> dict[str, str]:
    memory = fsspec.filesystem("memory")
    for path in (place / "tar").iterdir():
        memory.pipe(f"/set/{path.name}", path.read_bytes())
    last = len(list((place / "tar").glob("*.tar"))) - 1
    braces = f"train-{{000000..{last:06d}}}.tar"
    return {
        "folder": str(place / "tar"),
        "braces": f"{place}/tar/{braces}",
        "star": f"{place}/tar/*.tar",
        "memory": f"memory://set/{braces}",
        "memory star": "memory://set/train-*.tar",
        "parquet": f"{place}/parquet/*.parquet",
    }


def test_every_pattern_of_shards_yields_all_images_unchanged(place, tmp_path):
    wanted = files(place / "images")
    for name, pattern in patterns(place).items():
        images = opened(pattern, tmp_path)
        assert contents(images) == wanted, name
        assert np.bincount(images.labels).tolist() == [20, 20], name
        assert len(images.index.shards) > 2 and images.read(0).shape == (3, 20, 20)
        assert common_side(pattern) == 20, name


def test_braces_are_expanded_with_leading_zeros():
    assert list(expand_braces("a{08..10}-{x,y}")) == [
        "a08-x", "a08-y", "a09-x", "a09-y", "a10-x", "a10-y",
    ]  # fmt: skip
    assert list(expand_braces("{2..0}")) == ["2", "1", "0"]
    assert list(expand_braces("a{b}{")) == ["a{b}{"]
    with pytest.raises(UserError, match="100,000"):
        list(expand_braces("{0..99999999}"))


def test_a_folder_of_images_with_a_parquet_file_is_not_sharded(tmp_path):
    draw_images(tmp_path, each=1)
    (tmp_path / "embeddings.parquet").write_bytes(b"")
    assert not is_sharded(str(tmp_path))


def plain_index(counts: list[int], kind: str) -> ShardIndex:
    ends = np.cumsum(counts)
    n = int(ends[-1])
    groups = np.unique(np.concatenate([np.arange(3, n, 3), ends])) if kind == "parquet" else EMPTY
    return ShardIndex(
        tuple(f"{i}.tar" for i in range(len(counts))), kind, ends, np.zeros(len(counts)), None,
        np.arange(n), np.full(n, 1 << 20), None, (), groups,
    )  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 3),
    st.integers(1, 2), st.integers(1, 3), st.integers(1, 40),
    st.sampled_from(["tar", "parquet"]),
)  # fmt: skip
def test_every_image_appears_once_within_the_prefetched_ranges(
    counts, groups, lanes, parts, micro, buffer, kind
):
    index = plain_index(counts, kind)
    batch = groups * parts * micro
    order = StreamOrder(index, batch, buffer, 7, Streams(groups, lanes, parts))
    seen = []
    for step in range(order.steps):
        images, ranges = order.places(2, step, 0, batch)
        assert all(any(a <= i < b for a, b in ranges) for i in images)
        seen += images.tolist()
    assert len(set(seen)) == len(seen) == sum(counts) // batch * batch
    assert set(seen) <= set(range(sum(counts)))


def test_batches_do_not_depend_on_the_number_of_processes(monkeypatch):
    streams = Streams(2, 3, 1)
    order = StreamOrder(plain_index([50, 70], "parquet"), 12, 24, 1, streams)

    def batches(world: int) -> list[list[int]]:
        shares = []
        for rank in range(world):
            monkeypatch.setattr(sampling, "rank_and_world", lambda r=rank: (r, world))
            shares.append(
                [ids.tolist() for _, ids, _ in sampling.StreamSampler(order, 12 // world)]
            )
        return [[i for p in parts for i in p] for parts in zip(*shares, strict=True)]

    whole = batches(1)
    assert len(whole) == 10 and batches(2) == whole and batches(3) == whole
    assert whole != [order.places(1, k, 0, 12)[0].tolist() for k in range(10)]


def test_processes_read_only_their_own_streams():
    order = StreamOrder(plain_index([64] * 4, "tar"), 16, 64, 1, Streams(2, 2, 1))
    read = [
        {i for k in range(order.steps) for i in order.places(0, k, 8 * r, 8 * r + 8)[0].tolist()}
        for r in (0, 1)
    ]
    prefetched = [
        {i for k in range(order.steps) for a, b in order.places(0, k, 8 * r, 8 * r + 8)[1]
         for i in range(a, b)}
        for r in (0, 1)
    ]  # fmt: skip
    assert read == prefetched and not read[0] & read[1] and len(read[0] | read[1]) == 256


def loaded(images, workers: int, streams: Streams, start: int = 0) -> list[dict]:
    sampler = epoch_sampler(images, 6, buffer=12, seed=5, streams=streams, start_batch=start)
    loader = train_loader(images, sampler, views=paper_views(12), workers=workers, device=CPU)
    return list(loaded_batches(loader))


@pytest.mark.parametrize("kind", ["folder", "parquet", "memory"])
def test_batches_do_not_depend_on_workers_or_restarts(place, tmp_path, kind):
    images = opened(patterns(place)[kind], tmp_path)
    alone = loaded(images, 0, Streams(1, 2))
    assert len({int(i) for b in alone for i in b.ids}) == 36
    for workers, start in ((1, 0), (3, 0), (2, 3)):
        again = loaded(images, workers, Streams(1, 2), start)
        for a, b in zip(alone[start:], again, strict=True):
            assert torch.equal(a.ids, b.ids) and torch.equal(a.crops[1], b.crops[1])
            assert not a.broken


def test_evaluation_yields_shards_in_their_order(place, tmp_path):
    for kind in ("memory", "parquet"):
        images = opened(patterns(place)[kind], tmp_path)
        batches = list(eval_batches(images, 12, 7, workers=1))
        assert torch.cat([ids for ids, _ in batches]).tolist() == list(range(40))
        some = images.subset(np.array([9, 2]))
        assert torch.equal(some.read(1), images.read(2)) and some.labels[0] == images.labels[9]


def test_the_splits_of_a_folder_become_separate_shards(tmp_path, capsys):
    draw_images(tmp_path / "set" / "train", each=4)
    draw_images(tmp_path / "set" / "test", each=2)
    (tmp_path / "set" / "test" / "a" / "00.png").write_bytes(b"")
    argv = ["shard", str(tmp_path / "set"), "--size=8KB", "--json"]
    for kind in ("tar", "parquet"):
        out = tmp_path / kind
        assert main([*argv, "--out", str(out), "--format", kind]) == 0
        assert '"left_out": 1' in capsys.readouterr().out
        splits = open_images(str(out), data_root=str(tmp_path))
        assert contents(splits.train) == files(tmp_path / "set" / "train")
        assert len(splits.test) == 3 and splits.test.classes == ("a", "b")
    assert main([*argv, "--out", str(tmp_path / "tar")]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert main(["shard", str(tmp_path / "set"), "--size=huge"]) == 2


def test_the_stored_order_depends_on_the_seed_or_is_that_of_the_folder(tmp_path):
    images = open_images(str(draw_images(tmp_path / "images"))).train
    for name, seed in (("a", 1), ("b", 1), ("plain", None)):
        pack({"train": images}, tmp_path / name, Packing(1 << 20, "tar", seed))
    first, same = ((tmp_path / n / "train-000000.tar").read_bytes() for n in ("a", "b"))
    assert first == same
    plain = opened(tmp_path / "plain", tmp_path)
    assert plain.sample_name(0) == "train-000000.tar/a/00.png"
    assert plain.labels.tolist() == [0] * 12 + [1] * 12


def test_hidden_files_are_not_shards(place, tmp_path):
    import shutil

    shutil.copytree(place / "tar", tmp_path / "tar")
    for name in (".train-000002.8386.tmp.tar", "._x.tar"):
        (tmp_path / "tar" / name).write_bytes(b"half of a shard")
        fsspec.filesystem("memory").pipe(f"/hidden/{name}", b"half of a shard")
    first = tmp_path / "tar" / "train-000000.tar"
    fsspec.filesystem("memory").pipe("/hidden/train-000000.tar", first.read_bytes())
    for data in (tmp_path / "tar", f"{tmp_path}/tar/*.tar"):
        assert contents(opened(data, tmp_path)) == files(place / "images")
    for data in ("memory://hidden/*.tar", "memory://hidden"):
        assert contents(opened(data, tmp_path)) == contents(opened(first, tmp_path))


def test_hidden_members_are_no_images_as_in_a_folder(tmp_path):
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    names = ("./a/1.png", "a.b/2.png", ".c/3.png", "d/.e/4.png", "__MACOSX/d/._5.png", "../6.png")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content.getvalue())
            archive.addfile(member, io.BytesIO(content.getvalue()))
    train = open_images(str(tmp_path / "x.tar"), data_root=str(tmp_path / "cache")).train
    found = [train.inner_name(i) for i in range(len(train))]
    assert found == ["./a/1.png", "a.b/2.png", "../6.png"]


def test_unreadable_images_produce_no_shards(tmp_path, capsys):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    for kind in ("tar", "parquet"):
        argv = ["shard", str(tmp_path / "list.txt"), "--format", kind]
        assert main([*argv, "--out", str(tmp_path / "out")]) == 2
        assert "none of 2 images can be read (a.png is empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_names_that_differ_by_a_dot_become_two_members(tmp_path, seed):
    draw_images(tmp_path / "p", classes=("",), each=3)
    for old, new in (("00", "a.b"), ("01", "a_b"), ("02", "z")):
        (tmp_path / "p" / f"{old}.png").rename(tmp_path / "p" / f"{new}.png")
    images = open_images(str(tmp_path / "p")).train
    pack({"train": images}, tmp_path / "tar", Packing(1 << 20, "tar", seed))
    with tarfile.open(tmp_path / "tar" / "train-000000.tar") as tar:
        assert sorted(tar.getnames()) == ["a_b.png", "a_b_2.png", "z.png"]
    assert contents(opened(tmp_path / "tar", tmp_path)) == files(tmp_path / "p")


NAMES = (b"a.b.png", b"a_b.png", b"a_b.PNG", b"c.jpg.png", b"\xff.x.png", "ä.b.png".encode())


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_table_names_the_same_images_in_a_folder_and_in_its_shards(tmp_path, kind, seed, indexed):
    folder = draw_images(tmp_path / "p", classes=("",), each=len(NAMES))
    for image, name in zip(sorted(folder.iterdir()), NAMES, strict=True):
        image.rename(folder / os.fsdecode(name))
    rows = [  # the text of Parquet is UTF-8
        (name, i) for i, name in enumerate(NAMES) if kind == "tar" or b"\xff" not in name
    ]
    lines = b"".join(b"%s,n%d\n" % row for row in rows)
    (tmp_path / "t.csv").write_bytes(b"file,label\n" + lines)
    table = read_labels(tmp_path / "t.csv")
    pack({"train": open_images(str(folder)).train}, tmp_path / "s", Packing(1 << 20, kind, seed))
    if not indexed:
        (tmp_path / "s" / "index.parquet").unlink(missing_ok=True)
    found, left = label_splits(open_images(str(tmp_path / "s"), data_root=str(tmp_path)), table)
    assert (len(found.train), left) == (len(rows), len(NAMES) - len(rows))
    for place, label in enumerate(found.train.labels):
        name = NAMES[int(table.names[label][1:])]
        assert os.fsencode(found.train.inner_name(place)) == name
        assert found.train.encoded(place) == (folder / os.fsdecode(name)).read_bytes()


def test_a_row_does_not_name_another_image_whose_name_is_similar(tmp_path):
    folder = draw_images(tmp_path / "p", classes=("",), each=2)
    (folder / "00.png").rename(folder / "a_b.png")
    (tmp_path / "t.csv").write_text("file,label\na.b.png,x\n01.png,y\n")
    pack({"train": open_images(str(folder)).train}, tmp_path / "s", Packing(1 << 20, "tar", None))
    for data in (folder, tmp_path / "s"):
        with pytest.raises(UserError, match=r"not there \(1\): a\.b\.png"):
            label_splits(open_images(str(data)), read_labels(tmp_path / "t.csv"))


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_arrays_next_to_images_are_images_in_shards_as_well(tmp_path, kind):
    folder = draw_images(tmp_path / "p", classes=("",), each=3)
    for number in range(3):  # one has the name of an image, up to the ending
        name = "00" if number == 0 else f"n{number}"
        np.save(folder / f"{name}.npy", np.full((20, 20, 3), number, dtype=np.uint8))
    assert main(["shard", str(folder), "--out", str(tmp_path / "s"), "--format", kind]) == 0
    images = opened(tmp_path / "s", tmp_path)
    assert sorted(map(images.inner_name, range(len(images)))) == sorted(
        path.name for path in folder.iterdir()
    )
    arrays = [i for i in range(len(images)) if images.inner_name(i).endswith(".npy")]
    assert sorted(int(images.read(i).max()) for i in arrays) == [0, 1, 2]


def test_arrays_with_the_key_of_an_image_are_no_images(tmp_path):
    content = files(draw_images(tmp_path / "p", each=1))[0]
    array = io.BytesIO()
    np.save(array, np.zeros((4, 4), dtype=np.uint8))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("0.npy", "0.png", "1.png", "1.vector.npy", "2.npy"):
            shards_write._add(tar, name, content if name.endswith("png") else array.getvalue())
    images = opened(tmp_path / "a.tar", tmp_path)
    assert [images.inner_name(i) for i in range(len(images))] == ["0.png", "1.png", "2.npy"]


def test_an_archive_that_lacks_images_is_not_kept(tmp_path, monkeypatch, capsys):
    folder = draw_images(tmp_path / "p", each=2)
    monkeypatch.setattr(tar_module, "is_image_file", lambda name: name == b"01.png")
    assert main(["shard", str(folder), "--out", str(tmp_path / "s")]) == 2
    line = capsys.readouterr().err
    assert "written with 4 images, of which 2 can be read back" in line
    assert not (tmp_path / "s").exists()


def test_the_index_of_non_ascii_names_is_used(tmp_path, monkeypatch):
    from BYOL.data.shards import build_index as building

    draw_images(tmp_path / "p", classes=("Käfer", "жук"), each=3)
    images = open_images(str(tmp_path / "p")).train
    pack({"train": images}, tmp_path / "tar", Packing(1 << 20, "tar", None))
    monkeypatch.setattr(building, "scan_shard", None)
    images = opened(tmp_path / "tar", tmp_path)
    assert images.classes == ("Käfer", "жук") and "/Käfer/00.png" in images.sample_name(0)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("indexed", [True, False])
def test_classes_that_occur_only_in_test_keep_their_names(tmp_path, kind, indexed):
    draw_images(tmp_path / "p" / "train", classes=("a", "b"), each=2)
    draw_images(tmp_path / "p" / "test", classes=("a", "c"), each=2)
    splits = open_images(str(tmp_path / "p"))
    packing = Packing(1 << 20, kind, None)
    pack({"train": splits.train, "test": splits.test}, tmp_path / "set", packing)
    if not indexed:
        (tmp_path / "set" / "index.parquet").unlink(missing_ok=True)
    shards = open_images(str(tmp_path / "set"), data_root=str(tmp_path))
    names = ("a", "b", "c") if indexed or kind == "parquet" else ("0", "1", "2")
    for images in (shards.train, shards.test):
        assert images.classes == names
    assert shards.test.labels.tolist() == [0, 0, 2, 2]


def test_parquet_files_may_lack_class_names_and_paths(tmp_path):
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    content = (draw_images(tmp_path / "p", each=1) / "a" / "00.png").read_bytes()
    about = {"info": {"features": {"label": {"names": ["cat", "dog"]}}}}
    rows = [{"bytes": content, "path": path} for path in ("x/1.png", None, "y/3.png")]
    table = pa.table({"image": rows, "label": [0, 3, 1]})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(about)}), tmp_path / "a.parquet"
    )
    images = opened(tmp_path / "a.parquet", tmp_path)
    assert images.classes == ("cat", "dog", "2", "3")
    names = ["a.parquet/x/1.png", "a.parquet/1", "a.parquet/y/3.png"]
    assert [images.sample_name(i) for i in range(3)] == names
    pq.write_table(pa.table({"jpg": [content], "__key__": ["k0"]}), tmp_path / "b.parquet")
    assert opened(tmp_path / "b.parquet", tmp_path).sample_name(0) == "b.parquet/k0"


def test_an_index_that_does_not_match_is_ignored(place, tmp_path):
    import shutil

    shutil.copytree(place / "tar", tmp_path / "tar")
    first = tmp_path / "tar" / "train-000000.tar"
    shutil.copy(tmp_path / "tar" / "train-000001.tar", first)
    images = opened(first, tmp_path)
    assert contents(images) == contents(opened(tmp_path / "tar" / "train-000001.tar", tmp_path))
    (tmp_path / "tar" / "index.parquet").write_bytes(b"PAR1 invalid")
    assert len(opened(tmp_path / "tar", tmp_path)) > 20


def test_the_index_of_scanned_archives_is_cached(place, tmp_path, monkeypatch):
    import shutil

    from BYOL.data.shards import build_index as building

    shutil.copytree(place / "tar", tmp_path / "tar", ignore=shutil.ignore_patterns("index*"))
    first = opened(tmp_path / "tar", tmp_path)
    monkeypatch.setattr(building, "scan_shard", None)
    again = opened(tmp_path / "tar", tmp_path)
    assert again.digest == first.digest and again.labels.tolist() == first.labels.tolist()


@pytest.mark.parametrize("after", [10, -tarfile.BLOCKSIZE])
def test_a_truncated_archive_yields_its_complete_images_and_a_warning(place, tmp_path, after):
    source = place / "tar" / "train-000000.tar"
    complete = opened(source, tmp_path)
    path = tmp_path / "short.tar"
    path.write_bytes(source.read_bytes()[: complete.index.offsets[-1] + after])
    images = opened(path, tmp_path)
    assert "is truncated or damaged" in images.notes[0] and "\n" not in images.notes[0]
    assert len(images) == len(complete) - 1 and set(contents(images)) < set(contents(complete))
    path.write_bytes(source.read_bytes()[:100])
    with pytest.raises(UserError, match="not a tar archive"):
        opened(path, tmp_path)


def test_concatenated_archives_yield_the_first_and_a_warning(place, tmp_path):
    two = sorted((place / "tar").glob("*.tar"))[:2]
    (tmp_path / "two.tar").write_bytes(b"".join(path.read_bytes() for path in two))
    images = opened(tmp_path / "two.tar", tmp_path)
    assert "only the first archive" in images.notes[0]
    assert contents(images) == contents(opened(two[0], tmp_path))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_a_missing_shard_stops_the_loader_with_a_one_line_error(place, tmp_path, workers, kind):
    import shutil

    which = "parquet" if kind == "parquet" else "tar"
    shutil.copytree(place / which, tmp_path / "set")
    data = f"{tmp_path}/set/train-{{000000,000001}}.{which}"
    images = opened(data, tmp_path)
    images = opened(data, tmp_path)  # no shard is open yet
    for path in (tmp_path / "set").glob("train*"):
        path.unlink()
    images = StreamedImages("set", 3, None, (), images.index)
    with pytest.raises(UserError, match=r"cannot be read any more"):
        loaded(images, workers, Streams())


def hostile(path) -> None:
    """Write an archive of path traversals, links, devices, a sparse bomb, and valid images."""
    image = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (9, 9)).save(image, "PNG")
    good = image.getvalue()
    with tarfile.open(path, "w") as tar:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE),
            ("device.png", tarfile.CHRTYPE), ("fifo.png", tarfile.FIFOTYPE),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name in ("../../evil.png", "/evil.png", "a/\x1b[31mred.png", "._a.png", "b.png"):
            info = tarfile.TarInfo(name)
            info.size = len(good)
            tar.addfile(info, io.BytesIO(good))
        huge = tarfile.TarInfo("huge.png")
        huge.size = 1 << 60
        tar.fileobj.write(huge.tobuf(tarfile.GNU_FORMAT))
        tar.fileobj.flush()


def test_a_hostile_archive_writes_no_files(tmp_path, monkeypatch):
    place = tmp_path / "deep" / "deeper"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    hostile(place / "set.tar")
    images = opened("set.tar", tmp_path / "cache")
    assert len(images) == 4 and images.read(0).shape == (3, 9, 9)
    assert len(images.notes) == 1  # the huge member ends the archive
    assert {p.name for p in tmp_path.rglob("*.png")} == set()
    assert {p.name for p in place.iterdir()} == {"set.tar"}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8), st.floats(0, 1))
def test_any_bytes_are_an_archive_or_rejected(changes, cut):
    from BYOL.data.shards.tar import scan_tar

    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as tar:
        for name, content in (("a.png", b"x" * 600), ("a.cls", b"3"), ("b" * 150 + ".jpg", b"y")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    content = bytearray(body.getvalue())
    for where, value in changes:
        content[where] = value
    content = content[: int(len(content) * cut)]
    try:
        archive = scan_tar(io.BytesIO(content), "s.tar")
    except UserError:
        return
    assert (archive.offsets + archive.sizes <= len(content)).all()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("none.tar", "shard none.tar does not exist"), ("none-*.tar", "matches no .tar"),
        ("set.tar.gz", "unpack"), ("nosuch://x.tar", "nosuch"), ("pipe:false", "is not there"),
        ("memory://absent.tar", "absent.tar"), ("text.parquet", "Parquet"), ("text.tar", "archive"),
    ],
)  # fmt: skip
def test_invalid_shards_raise_one_line_errors(tmp_path, monkeypatch, data, named):
    monkeypatch.chdir(tmp_path)
    for name in ("text.parquet", "text.tar"):
        (tmp_path / name).write_text("not a shard")
    with pytest.raises(UserError, match=named) as caught:
        open_images(data, data_root=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_settings_file_cannot_run_a_command(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(f"data: 'pipe:touch {tmp_path}/ran'\nepochs: 1\n")
    assert main(["pretrain", "--config", str(tmp_path / "c.yaml")]) == 2
    assert "a file opens no place by itself" in capsys.readouterr().err
    (tmp_path / "s.yaml").write_text(f"settings: {{data: 'pipe:touch {tmp_path}/ran'}}\n")
    assert main(["sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "sweep")]) == 2
    assert "a file opens no place by itself" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("format", ["tar", "parquet"])
def test_a_set_of_shards_is_complete_or_absent(tmp_path, monkeypatch, capsys, format):
    """A disk that is full after two shards leaves nothing; the next command completes it."""
    draw_images(tmp_path / "images")
    argv = ["shard", str(tmp_path / "images"), f"--format={format}", "--size=4KB"]
    argv += ["--out", str(tmp_path / "out")]
    real, calls = shards_write.write_atomically, []

    def full(path, write):
        calls.append(path)
        if len(calls) == 3:
            raise MachineError(f"cannot write {path}: no space left on the device")
        return real(path, write)

    monkeypatch.setattr(shards_write, "write_atomically", full)
    assert main(argv) == 2
    assert f"cannot write {tmp_path}/out/train-000002" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert main(argv) == 0
    assert contents(opened(tmp_path / "out", tmp_path)) == files(tmp_path / "images")
