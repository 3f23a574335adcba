"""The Hub: what a push takes, the push itself, checkpoints, the model card."""
