"""The only code that touches media files, images, tensors and package data on disk."""
