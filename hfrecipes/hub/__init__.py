"""Everything for the Hub: settings of a push, the push itself, checkpoints, the model card."""
