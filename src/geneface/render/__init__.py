"""Landmarks and a head pose to pixels. Everything here is pure: no files, no globals, numpy and `geneface.ops` only."""
