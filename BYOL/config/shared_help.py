"""Help texts of settings that several commands have."""

RUN = (
    "Run folder, checkpoint, or exported backbone. A checkpoint is a file such as "
    "RUN/checkpoints/best.ckpt. An exported backbone is a file that byol export wrote, "
    "hf-hub:OWNER/NAME, or local-dir:FOLDER."
)
LAYER = (
    "Layer of the backbone, such as layer3 or blocks.6. The default is the output of the backbone."
)
POOL = (
    "Pooling of a feature map. mean and max pool over positions, and token takes the class token "
    "of a transformer. auto is the mean for a layer, and the pooling of the backbone for its "
    "output."
)
LABELS = (
    "CSV file of labels, or an export of Label Studio. It has a header. The first column is the "
    "image file. It is followed by one column with the class or with tags such as a|b, by several "
    "columns of 0 and 1, or by columns of numbers. An empty cell is an unknown label. Without it, "
    "class folders provide the labels. Without DATA too, the labels file of the run is used, "
    "if it has one."
)
GROUPS = (
    "CSV file that assigns images to groups, such as the patient or the camera. It has a header. "
    "The first column is the image file, the second the name of its group. A group never appears "
    "in both the training and the test split where a part of DATA is held out, and confidence "
    "intervals resample whole groups. Without it and without DATA, the groups file of the run is "
    "used."
)
LABEL_COLUMN = (
    "Column of the labels file that holds the labels, or several with commas between. The default "
    "is all columns except the one of the image files."
)
GROUP_COLUMN = (
    "Column of the groups file that holds the groups. It is needed if the file has more than two "
    "columns."
)
FILE_COLUMN = (
    "Column of the labels and groups files that names the image files. The default is the first "
    "column."
)
TASK = "Kind of labels. auto infers it from the labels."
WORKERS = (
    "Number of processes that load images. The default is the number of CPU cores, or half of it "
    "if there is a GPU."
)
ACCELERATOR = "Hardware to compute on. auto uses a GPU if there is one."
DATA_ROOT = "Folder in which named data sets are stored or downloaded to."
TRUST = (
    "Open the images, labels and hosts that settings from another person name. These are the "
    "settings of a run from elsewhere and the files of --config. A run that you made and did not "
    "move needs no --trust."
)
STORED_FEATURES = (
    "Features to read instead of computing them. They are a folder or a .parquet file of byol "
    "embed for the same RUN and DATA, or Parquet files with the columns file and embedding."
)
NEIGHBOUR_SEARCH = (
    "How similar images are found. exact compares all, and faiss reads only a part of an index, "
    "which needs the extra faiss. auto is faiss from as many comparisons on as those of a million "
    "images with each other, and exact below."
)
