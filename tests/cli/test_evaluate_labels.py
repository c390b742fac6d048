"""What ``byol evaluate`` says and stores about the file of labels."""

import json

from BYOL.cli.main import main
from tests.conftest import draw_images, make_run


def test_images_whose_row_has_an_unknown_label_are_not_said_to_lack_a_row(tmp_path, capsys):
    images = draw_images(tmp_path / "flat", classes=("",), each=24)
    cells = [-1 if i % 6 == 5 else i % 2 for i in range(23)]  # the last image has no row at all
    rows = [f"{i:02}.png,{cell},x" for i, cell in enumerate(cells)]
    (tmp_path / "int.csv").write_text("file,n,other\n" + "\n".join(rows) + "\n")
    run = make_run(tmp_path / "run", images, backbone="plain5", image_size=16)
    labels = ["--labels", f"{tmp_path}/int.csv", "--label-column=n", "--protocol=knn"]
    assert main(["evaluate", str(run), str(images), *labels, "--no-leakage"]) == 0
    text = "".join(capsys.readouterr())
    unknown = cells.count(-1)
    assert f"left out, because {tmp_path}/int.csv has no known label for them: 4 images" in text
    assert unknown == 3 and "no row" not in text
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["pictures_without_labels"] == unknown + 1
    assert evaluation["label_column"] == "n" and evaluation["labels"].endswith("int.csv")
