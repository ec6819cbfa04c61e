"""Clips of many speakers: landmarks and speech features (`prepare`, read by `corpus`), more speech for the same motion.

`voices` adds it: `augmentation`, `held_vowels`, `non_speech`, `resynthesis`. `dataset` draws training sequences.
"""
