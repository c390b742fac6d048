import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import BYOL
from BYOL.cli.main import main
from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.runs.checksum import add_checksum
from BYOL.runs.open import load_checkpoint, open_run
from BYOL.views.transforms import EvalTransform
from tests.conftest import draw_images

pytestmark = pytest.mark.trains


def expected_embeddings(run, pictures) -> dict[str, np.ndarray]:
    """Features of every picture, one at a time, with nothing but PIL and the backbone."""
    opened = open_run(run)
    transform = EvalTransform(16, opened.config.mean, opened.config.std)
    with torch.no_grad():
        return {
            str(path.relative_to(pictures)): opened.backbone(transform(Image.open(path))[None])[
                0
            ].numpy()
            for path in sorted(pictures.rglob("*.png"))
        }


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_embeddings_are_the_features_of_the_backbone_with_names(run, tmp_path, suffix):
    pictures = draw_images(tmp_path / "pictures", side=16)
    out = tmp_path / f"embeddings.{suffix}"
    argv = ["embed", str(run), str(pictures), "--out", str(out), "--batch-size", "7"]
    assert main(argv) == 0
    if suffix == "parquet":
        table = pq.read_table(out).to_pydict()
        names, labels = table["file"], table["label"]
        vectors = np.array(table["embedding"])
    else:
        with np.load(out) as arrays:
            names, labels = arrays["file"].tolist(), arrays["label"].tolist()
            vectors = arrays["embedding"]
    expected = expected_embeddings(run, pictures)
    assert names == sorted(expected) and labels == ["a"] * 12 + ["b"] * 12
    assert np.abs(vectors - np.stack([expected[name] for name in names])).max() < 1e-4


def test_unlabelled_images_are_embedded_and_broken_ones_are_counted(run, tmp_path, capsys):
    pictures = draw_images(tmp_path / "pictures", classes=("",), side=200)
    (pictures / "05.png").write_bytes(b"")
    out = tmp_path / "embeddings.parquet"
    assert main(["embed", str(run), str(pictures), "--out", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["pictures"], answer["left_out"]) == (11, 1)
    assert "05.png" not in pq.read_table(out).column("file").to_pylist()


def two_classes(name):
    """The names of the further measures of a protocol if there are two classes."""
    return {f"{name} {metric}" for metric in ("balanced accuracy", "AUROC", "AP")}


def test_an_evaluation_is_printed_and_written_to_the_run_folder(run, capsys):
    options = ["--protocol", "knn", "--layer", "features.relu3", "--pool", "max"]
    assert main(["evaluate", str(run), *options, "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert (other["layer"], other["pool"]) == ("features.relu3", "max")
    assert main(["evaluate", str(run), "--protocol", "knn,fewshot"]) == 0
    text = capsys.readouterr().out
    written = json.loads((run / "evaluation.json").read_text())
    assert set(written["rows"]["trained"]) == {"knn20", "1-shot", "5-shot"} | two_classes("knn20")
    for name in ("raw pixels", "untrained", "trained", "knn20", "1-shot"):
        assert name in text
    assert f"{written['rows']['trained']['1-shot']['accuracy']:.3f}" in text
    results = json.loads((run / "results.json").read_text())
    assert written["weights"] == results["weights"] and "layer" not in written


def test_numbers_of_neighbours_and_temperature_are_applied(run, capsys):
    argv = ["evaluate", str(run), "--protocol", "knn", "--neighbours", "5,50"]
    assert main([*argv, "--temperature", ".07"]) == 0
    text = capsys.readouterr().out
    written = json.loads((run / "evaluation.json").read_text())
    assert (
        set(written["rows"]["trained"])
        == (two_classes("knn5") | two_classes("knn20") | {"knn5", "knn20"})
        and "knn20" in text
    )


def test_evaluation_accepts_other_images_than_those_of_the_run(run, tmp_path, capsys):
    draw_images(tmp_path / "set" / "train", classes=("x", "y", "z"), each=6)
    draw_images(tmp_path / "set" / "test", classes=("x", "y", "z"), each=4)
    assert main(["evaluate", str(run), str(tmp_path / "set"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["pictures"] == {"learn": 18, "judge": 12} and answer["classes"] == 3
    for measures in answer["rows"].values():
        assert all(0 <= point_estimate(m) <= 1 for m in measures.values())


def test_without_usable_labels_in_test_a_fifth_is_held_out_as_in_the_run(run, tmp_path, capsys):
    draw_images(tmp_path / "set" / "train", each=10)
    draw_images(tmp_path / "set" / "test", classes=("",), each=4)
    argv = ["evaluate", str(run), str(tmp_path / "set"), "--protocol", "knn", "--json"]
    assert main(argv) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["pictures"] == {"learn": 16, "judge": 4}
    assert "its test images have no labels" in said.err


def test_an_evaluation_that_cannot_be_written_is_still_printed(run, tmp_path, capsys, monkeypatch):
    import BYOL.cli.commands.evaluate as module

    def full(path, values):
        raise UserError(f"cannot write {path}: no space left on the device")

    monkeypatch.setattr(module, "write_json", full)
    assert main(["evaluate", str(run), "--protocol", "knn"]) == 0
    said = capsys.readouterr()
    assert "knn20" in said.out and "written to" not in said.out
    assert "warning: cannot write" in said.err
    assert main(["evaluate", str(run), "--protocol", "knn", "--json"]) == 0
    assert "knn20" in json.loads(capsys.readouterr().out)["rows"]["trained"]


@pytest.mark.parametrize(("rows", "columns"), [(12, 3), (24, 1)])
def test_a_few_tags_or_a_single_one_are_evaluated(run, tmp_path, capsys, rows, columns):
    pictures = draw_images(tmp_path / "p", classes=("",), each=24)
    lines = [f"{i:02}.png" + f",{i % 2}" * columns for i in range(rows)]
    names = ",".join(["file", *"abc"[:columns]])
    (tmp_path / "tags.csv").write_text("\n".join([names, *lines]))
    argv = ["evaluate", str(run), str(pictures), "--labels", str(tmp_path / "tags.csv")]
    assert main([*argv, "--task", "multilabel", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["classes"] == columns and "linear mAP" in answer["rows"]["trained"]


def test_a_checkpoint_is_accepted_in_place_of_its_run(run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "evaluation.json").unlink(missing_ok=True)
    best = folder / "checkpoints" / "best.ckpt"
    state = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    name = next(n for n in state["state_dict"] if n.startswith("model.onlineNet.backend."))
    expected = state["state_dict"][name].mul_(0.5)
    torch.save(state, best)
    add_checksum(best)
    first = name.removeprefix("model.onlineNet.backend.")
    assert torch.equal(BYOL.load_backbone(best).state_dict()[first], expected)
    cards = []
    for place, hub in ((best, tmp_path / "best"), (folder, tmp_path / "last")):
        assert main(["export", str(place), "--to", f"{hub}/"]) == 0
        cards.append((hub / "README.md").read_text())
    assert torch.equal(BYOL.load_backbone(tmp_path / "best").state_dict()[first], expected)
    assert ["| trained |" in card for card in cards] == [False, True]  # figures are of the last
    assert main(["evaluate", str(best), "--trust", "--protocol", "knn"]) == 0
    assert (folder / "evaluation-best.json").exists() and not (folder / "evaluation.json").exists()
    capsys.readouterr()
    assert main(["report", str(best)]) == 2
    assert "is a checkpoint" in capsys.readouterr().err


def test_views_writes_one_image_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = draw_images(tmp_path / "pictures", side=40)
    assert (
        main(["views", str(pictures), "--pictures", "3", "--image-size", "48", "--view-size", "48"])
        == 0
    )
    with Image.open("views.png") as picture:
        assert picture.size == (7 * (2 * 48 + 4), 3 * (2 * 48 + 4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "views.png"]


def test_labels_from_a_file_reference_weights_and_epochs_are_applied(run, tmp_path, capsys):
    pictures = draw_images(tmp_path / "p", classes=("",), each=24)
    rows = "".join(f"{i:02}.png,{'even' if i % 2 == 0 else 'odd'}\n" for i in range(20))
    (tmp_path / "labels.csv").write_text("file,kind\n" + rows)
    argv = [
        "evaluate", str(run), str(pictures), "--labels", str(tmp_path / "labels.csv"),
        "--protocol", "all", "--epochs", "1", "--label-shares", "0.5,1",
        "--reference", str(run / "backbone.safetensors"),
    ]  # fmt: skip
    before = (run / "backbone.safetensors").read_bytes()
    assert main([*argv, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["pictures"] == {"learn": 16, "judge": 4}
    assert answer["pictures_without_labels"] == 4 and answer["class_names"] == ["even", "odd"]
    rows = answer["rows"]
    same = "reference (backbone.safetensors)"
    assert rows[same] == rows["trained"]
    assert {"finetune 50%", "finetune 100%"} <= set(rows["untrained"]) - set(rows["raw pixels"])
    assert (run / "backbone.safetensors").read_bytes() == before
    assert json.loads((run / "evaluation.json").read_text()) == answer


def test_weights_of_timm_are_a_row_only_if_they_are_on_this_disk(tmp_path, monkeypatch):
    import timm

    import BYOL.evaluation.baselines as module
    from BYOL.config.presets import preset_config

    sizes = {"channels": 1, "image_size": 32, "mean": [0.5], "std": [0.5]}
    config = preset_config("small", backbone="resnet10t", **sizes)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert module.cached_weights("plain5") is None
    assert module.supervised_reference(config) is None
    file = tmp_path / "resnet10t.pth"
    torch.save(timm.create_model("resnet10t").state_dict(), file)
    monkeypatch.setattr(module, "cached_weights", lambda name: file)
    found = module.supervised_reference(config)
    assert found.name == "supervised (timm)"
    assert found.backbone(torch.zeros(1, 1, 32, 32)).shape == (1, 512)


def test_a_published_backbone_is_compared_on_the_same_images(run, tmp_path, capsys):
    hub = tmp_path / "hub"
    assert main(["export", str(run), "--to", f"{hub}/"]) == 0
    capsys.readouterr()
    for name in (str(hub), f"local-dir:{hub}"):
        argv = ["evaluate", str(run), "--protocol", "knn", "--reference", name, "--json"]
        assert main(argv) == 0
        answer = json.loads(capsys.readouterr().out)
        other = answer["rows"]["reference (hub)"]
        assert other["knn20"]["accuracy"] == answer["rows"]["trained"]["knn20"]["accuracy"]
        (same,) = (c for c in answer["comparisons"]["reference (hub)"] if "decides" in c)
        assert same["p"] == 1 and same["only_first"] == same["only_second"] == 0
    assert main(["evaluate", str(run), "--reference", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"--reference={tmp_path}" in said and "RUN=" not in said and "\n" not in said.strip()
