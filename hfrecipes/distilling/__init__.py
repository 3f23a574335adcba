"""A run that also learns from the probabilities of another one."""
