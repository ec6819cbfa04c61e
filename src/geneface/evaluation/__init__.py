"""Measures avatars and videos against ground truth.

`evaluate` and `compare` are the two entry points, `summary` what a training says of its result, `carried` what can be
said without a portrait. `metrics/` holds a file a metric; `protocol/` draws, makes the controls, and builds the tables;
`report/` turns them into a page; `networks/` rebuilds published networks, whose weights `convert` makes readable.
`schema` is the shape of metrics.json, `tools` opens what metrics need.
"""
