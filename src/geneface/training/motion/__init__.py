"""Training of the generic motion model, its sync expert and the lip-sync classifier, on a corpus (torch)."""
