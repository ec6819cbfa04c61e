"""Live sessions over the network."""
