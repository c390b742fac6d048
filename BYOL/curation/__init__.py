"""Work with the features of an image set: duplicates, outliers, search, selection, labelling."""
