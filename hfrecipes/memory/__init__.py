"""Memory: what a training needs, what it took, and what happens when a batch does not fit."""
