"""Training of the `gaussian` renderer."""
