"""Frame-works and outputs that a live face plugs into."""
