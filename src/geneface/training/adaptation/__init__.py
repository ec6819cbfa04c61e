"""Adaptation of the generic motion model to one person, in numpy."""
