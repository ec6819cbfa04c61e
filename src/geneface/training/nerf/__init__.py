"""Training of the `nerf` renderer."""
