"""Outputs of a model, its texts, and scores with interval and baseline."""
