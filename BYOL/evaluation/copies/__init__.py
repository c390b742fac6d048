"""Copies of an image: candidates by features and thumbnails, confirmed by aligned pixels."""
