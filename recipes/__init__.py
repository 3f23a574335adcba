"""Recipe files that ship with the package."""
