"""One file per task, named after it."""
