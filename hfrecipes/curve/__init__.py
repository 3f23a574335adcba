"""The learning curve by rows: how scores grow with the training rows, and what more of them would bring."""
