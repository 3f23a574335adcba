"""Several runs side by side: their scores on the same rows, whether they differ, and what each of them costs."""
