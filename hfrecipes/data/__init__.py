"""Rows: read from any source, converted to the columns of a task, checked, split, encoded."""
