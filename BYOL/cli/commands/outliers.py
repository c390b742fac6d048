"""The command ``byol outliers``."""

from pathlib import Path

import numpy as np

from BYOL._files import check_output_file, write_csv
from BYOL.cli.commands.common import Answer, images_text
from BYOL.config.curation import OutliersConfig
from BYOL.curation.contact_sheet import SIDE, Tile, save_grid
from BYOL.curation.feature_store import Collection
from BYOL.curation.outliers import OutlierScores, describe_blank, most_different, outlier_scores
from BYOL.curation.run_features import open_features

_DRAWN = 200  # maximum number of images in the contact sheet
COLUMN_NAMES = ("rank", "file", "score", "nearest", "nearest_distance", "remark")


def outliers_run(config: OutliersConfig) -> Answer:
    """List the images that differ most from the others, in the order of their outlier scores.

    Raises:
        UserError: there is no run, there are no images, or a file cannot be written.
    """
    out = check_output_file("out", config.out, ".csv")
    grid = None if config.grid is None else check_output_file("grid", config.grid, ".png")
    features = open_features(config)
    with features.collect() as collection:
        scores = outlier_scores(collection, features.device)
        order = most_different(scores, config.count).tolist()
        rows = [_row(collection, scores, rank, place) for rank, place in enumerate(order, 1)]
        write_csv(out, COLUMN_NAMES, rows)
        if grid:
            _draw(collection, scores, order, grid)
        count, blank = len(collection), int(scores.blank.sum())
    answer = {
        "out": str(out),
        "grid": str(grid) if grid else None,
        "pictures": count,
        "left_out": features.total - count,
        "blank": blank,
        "median_score": float(np.median(scores.score)),
        "outliers": [dict(zip(COLUMN_NAMES, row, strict=True)) for row in rows],
    }
    images = images_text(count, features.total - count)
    drawn = f", drawn in {grid}" if grid else ""
    blanks = f"; {blank:,} of all images are blank" if blank else ""
    return answer, (
        f"{images}: the {len(rows):,} that differ most from the others, with scores from "
        f"{rows[0][2]} to {rows[-1][2]} (median of all: {answer['median_score']:.4f}), "
        f"in {out}{drawn}{blanks}"
    )


def _row(
    collection: Collection, scores: OutlierScores, rank: int, place: int
) -> tuple[object, ...]:
    return (
        rank,
        collection.file(place),
        round(float(scores.score[place]), 4),
        collection.file(int(scores.nearest[place])),
        round(float(scores.distance[place]), 4),
        describe_blank(collection.greys[place], bool(scores.blank[place])),
    )


def _draw(collection: Collection, scores: OutlierScores, order: list[int], path: Path) -> None:
    tiles = []
    for rank, place in enumerate(order[:_DRAWN], 1):
        image = collection.thumbnail(place, SIDE)
        if image is None:
            continue
        note = describe_blank(collection.greys[place], bool(scores.blank[place]))
        first = f"{rank}: {scores.score[place]:.3f}  {note}"
        lines = (first, f"nearest {scores.distance[place]:.3f}", Path(collection.file(place)).name)
        tiles.append(Tile(image, lines, "bad" if note else ""))
    save_grid([tiles], path)
