"""Files of predictions: every row of a file with its prediction, in the form of that file."""
