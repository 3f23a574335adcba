"""The folder of a run: which run it belongs to, what it contains, how far it has come, and when it is complete."""
