"""From settings to a plain Trainer."""
