"""Rotations, the camera, named landmarks, head pose and the face mesh's triangles: pure functions."""
