"""Labels and groups from CSV files, added to a data set."""

from dataclasses import dataclass, fields
from typing import Any

from BYOL.data.groups import GroupFile, group_splits, read_groups
from BYOL.data.labels import LabelFile, label_splits, read_labels
from BYOL.data.sources import Splits


@dataclass(frozen=True)
class AnnotationFiles:
    """The files of labels and groups that a command received, and how to read them.

    Args:
        labels: a CSV file, or None to keep the labels of the images.
        task: the kind of the labels.
        label_column: the columns of ``labels``; None: all after the file name.
        groups: a CSV file, or None.
        group_column: the column of ``groups``; None: the only one after the file name.
        file_column: the column of the image files in both; None: the first.
    """

    labels: str | None = None
    task: str = "auto"
    label_column: str | None = None
    groups: str | None = None
    group_column: str | None = None
    file_column: str | None = None

    @classmethod
    def of(cls, config: Any) -> "AnnotationFiles":
        """The files that the settings ``config`` of a command name."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})

    def read_labels(self) -> LabelFile | None:
        """Read the file of labels, if there is one.

        Raises:
            UserError: it cannot be read.
        """
        if self.labels is None:
            return None
        return read_labels(
            self.labels, self.task, file_column=self.file_column, label_column=self.label_column
        )

    def read_groups(self) -> GroupFile | None:
        """Read the file of groups, if there is one.

        Raises:
            UserError: it cannot be read.
        """
        if self.groups is None:
            return None
        return read_groups(
            self.groups,
            file_column=self.file_column,
            group_column=self.group_column,
            # Both files may name the column differently; then it is the first of the groups.
            optional=self.labels is not None,
        )


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


def annotate_splits(splits: Splits, files: AnnotationFiles) -> AnnotatedSplits:
    """Read the files of labels and groups and match them with the images.

    An image without a row in the file of groups gets group -1, see
    :func:`BYOL.data.groups.check_all_grouped`.

    Args:
        splits: all images.
        files: the files.

    Raises:
        UserError: a file cannot be read or does not fit the images.
    """
    labels, groups = files.read_labels(), files.read_groups()
    if groups:
        splits = group_splits(splits, groups)
    left_out = 0
    if labels:
        splits, left_out = label_splits(splits, labels)
    return AnnotatedSplits(splits, groups, left_out)
