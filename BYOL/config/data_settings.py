"""The training images, and what is known about them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from BYOL.config.common_fields import fixed_setting
from BYOL.config.fields import setting
from BYOL.config.shared_help import DATA_ROOT, FILE_COLUMN, GROUP_COLUMN, LABEL_COLUMN, TASK

Pairs = tuple[float, ...]  # black and white, or black and white of every channel


@dataclass(frozen=True)
class DataSettings:
    """The training images, and what is known about them."""

    title: ClassVar[str] = "images"

    data: str | None = setting(
        None,
        "Training images: folder, list, array file, shards or name of a data set. A "
        "list is a .txt file with one path per line. An array file is an .npz or .npy file. "
        "Shards are .tar or .parquet files, a folder of them, or a pattern such as "
        '"s3://bucket/{000..127}.tar". Names of data sets are digits, cifar10, cifar100 and '
        "stl10. The default is scikit-learn's handwritten digits.",
        private=True,
        place="images",
        basic=True,
    )
    labels: str | None = setting(
        None,
        "CSV file of labels, or an export of Label Studio, used for evaluation only and never for "
        "training. It has a header. The first column is the image file. It is followed by one "
        "column with the class or with tags such as a|b, by several columns of 0 and 1, or by "
        "columns of numbers. An empty cell is an unknown label. The file replaces the labels that "
        "class folders imply. Images without a row are still used for training.",
        on_resume="incomplete",
        place="input",
        home=True,
        basic=True,
    )
    label_column: str | None = setting(None, LABEL_COLUMN, on_resume="incomplete")
    file_column: str | None = setting(None, FILE_COLUMN, on_resume="incomplete")
    group_column: str | None = setting(None, GROUP_COLUMN, on_resume="incomplete")
    task: Literal["auto", "classification", "multilabel", "regression"] = setting(
        "auto", TASK, on_resume="incomplete"
    )
    groups: str | None = setting(
        None,
        "CSV file that assigns images to groups, such as the patient or the camera. It has a "
        "header. The first column is the image file, the second the name of its group. It is not "
        "used for training. In evaluation, a group never appears in both the training and the "
        "test split, and confidence intervals resample whole groups.",
        on_resume="incomplete",
        place="input",
        home=True,
        basic=True,
    )
    channels: int | None = fixed_setting(
        None,
        "Number of image channels. The default is the number of channels of the images.",
        low=1,
        basic=True,
    )
    pixel_range: Pairs | None = fixed_setting(
        None,
        "Pixel values of black and white in images of high bit depth, such as 0,4095. It may be a "
        "pair for each channel, such as -25,0,0,0.6. The default is estimated from a sample of "
        "the images. Values outside the range are clipped.",
    )
    no_data: float | None = fixed_setting(
        None,
        "Pixel value that marks pixels without data, such as -9999. It is not part of the pixel "
        "range, and such pixels are black. NaN and the no-data values that TIFF and DICOM files "
        "declare are recognised without this setting.",
    )
    slice: Literal["middle", "first", "max"] = fixed_setting(
        "middle",
        "Slice of image stacks that is used: the middle or the first one in depth and time, or "
        "the maximum over all of them. All channels are kept.",
    )
    frames: Literal["all", "first", "middle"] | None = fixed_setting(
        None,
        "Frames of DICOM objects, and slices of volumes and stacks (NIfTI, NRRD, MHA, Zarr, TIFF), "
        "that are used. "
        "With all, every frame and every slice is an image, and those of one file are one group. "
        "The default is the first frame of a DICOM object and the --slice of a volume.",
    )
    data_root: str = setting("~/.cache/byol", DATA_ROOT, private=True, place="output")
    memory: float = setting(
        4.0, "Gigabytes of memory in which decoded images may be cached.", low=0, private=True
    )
    workers: int | None = setting(
        None,
        "Number of processes that load images. The default depends on the machine.",
        low=0,
        private=True,
        basic=True,
    )
    shuffle_buffer: int = fixed_setting(
        8192,
        "Number of images from shards in the shuffle buffer, over all processes and workers. "
        "Where shards are not local archives, twice as many encoded images are held in memory.",
        low=1,
    )
    strict_images: bool = setting(False, "Stop before training if any image cannot be read.")
