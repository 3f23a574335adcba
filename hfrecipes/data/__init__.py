"""Rows: read from any source, brought into the columns of a task, checked, split, encoded."""
