"""Published networks that some metrics are defined by, rebuilt here, and the reader of their weights."""
