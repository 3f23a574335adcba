"""A trained model in another form, for use where there is no PyTorch."""
