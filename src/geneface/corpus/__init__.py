"""Clips of many speakers -> aligned landmarks and speech features: `prepare`, its loader `corpus`, and `dataset`."""
