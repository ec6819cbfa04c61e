"""What the training of every renderer shares: settings, targets, checkpoints, the run from first step to last."""
