"""Media to measurements: speech features, faces, masks, backgrounds, the offset between sound and picture."""
