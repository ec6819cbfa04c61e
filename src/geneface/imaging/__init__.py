"""Image processing in numpy: resizing, filters, shapes, warps, motion of points, drawing. Pure functions of arrays.

Images are [H, W] or [H, W, C], bytes or floats. Places are (x, y) in pixels, x right, y down; the centre of the first
pixel is (0.5, 0.5). Nothing here calls BLAS, whose helper threads would spin next to the worker processes.
"""
