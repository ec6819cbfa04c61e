"""The metrics: each file measures one thing."""
