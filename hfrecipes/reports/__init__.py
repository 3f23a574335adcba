"""report.html of a run: what it learnt, where it errs, and which labels look wrong, on one page without any request."""
