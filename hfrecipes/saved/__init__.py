"""A saved model: where it is and whether it is whole, the rows that it gets, and its scores on them."""
