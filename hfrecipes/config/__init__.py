"""Settings of a run: their names, types and layers, and the recipe file that repeats the run."""
