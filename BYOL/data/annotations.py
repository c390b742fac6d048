"""Labels and groups from CSV files, added to a data set."""

from dataclasses import dataclass

from BYOL.data.groups import GroupFile, group_splits, read_groups
from BYOL.data.labels import label_splits, read_labels
from BYOL.data.sources import Splits


@dataclass(frozen=True, eq=False)
class AnnotatedSplits:
    """A data set with the labels and groups of CSV files.

    Args:
        splits: the labelled images where there is a file of labels, else all images.
        groups: the file of groups, or None.
        left_out: the number of images without a label in the file of labels.
    """

    splits: Splits
    groups: GroupFile | None = None
    left_out: int = 0


def annotate_splits(
    splits: Splits, labels: str | None, task: str, groups: str | None
) -> AnnotatedSplits:
    """Read the files of labels and groups and match them with the images.

    An image without a row in the file of groups gets group -1, see
    :func:`BYOL.data.groups.check_all_grouped`.

    Args:
        splits: all images.
        labels: a CSV file, or None to keep the labels of ``splits``.
        task: the kind of the labels.
        groups: a CSV file, or None.

    Raises:
        UserError: a file cannot be read or does not fit the images.
    """
    labels_file = read_labels(labels, task) if labels else None
    groups_file = read_groups(groups) if groups else None
    if groups_file:
        splits = group_splits(splits, groups_file)
    left_out = 0
    if labels_file:
        splits, left_out = label_splits(splits, labels_file)
    return AnnotatedSplits(splits, groups_file, left_out)
