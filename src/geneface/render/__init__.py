"""Landmarks and a head pose to pixels: two renderers behind one interface (`renderer`), found by name in `registry`.

No files are opened here; numpy and `geneface.ops` do all the work.
"""
