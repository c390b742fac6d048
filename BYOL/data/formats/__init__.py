"""Readers of image files, one file per format."""
