"""Private training: DP-SGD, so that the weights tell little about any row of train; docs/privacy.md."""
