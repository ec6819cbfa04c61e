"""The body loop of an avatar: which seconds of the person's own video it holds (`choice`), where the path through them
may turn and jump (`ways`), who is opaque in them (`matte`), how soft and grainy they are (`sharpness`); `build` writes
the files.
"""
