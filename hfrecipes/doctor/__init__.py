"""What is odd about rows before anything is trained: each kind of finding is a function from rows to diagnoses."""
