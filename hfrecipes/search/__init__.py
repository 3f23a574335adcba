"""Search over settings: trials are ordinary runs, validation chooses one, and test is looked at once, for that one."""
