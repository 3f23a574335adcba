"""One file per task, named after it; files that start with "_" are shared by several tasks."""
