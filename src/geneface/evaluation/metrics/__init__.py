"""The metrics: a file measures one thing, or a family that shares its computation, and says what its figures mean.

How to add one:

1. A file here. It holds a pure function, and for each key a `schema.MetricDefinition`: title, unit, which way is
   better, a description that can be measured again from, the controls that it must see, and the instrument that it
   needs (`tools` opens instruments). A metric of pictures is a `picture.PictureMetric`. A metric of lips is a
   dictionary `DEFINITIONS` and a function from `lips.LipClip`s to figures. Any other is a dictionary `DEFINITIONS`.
2. A line in `registry`. Metrics of pictures and of lips are then measured in every row of every table. Where another
   one is measured, the protocol says: `protocol.videos` for what a whole video shows, `protocol.tables` for its table.
3. A line in docs/metrics.md: range, what moves it, what it can't see. A test wants it.

The controls check the new metric in every evaluation: where it misses one that it must see, the report says so.
"""
