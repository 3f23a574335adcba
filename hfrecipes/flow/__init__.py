"""The flow of a run: alone, or several of them over folds, seeds or models."""
