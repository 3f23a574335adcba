"""Every setting with its type, default and meaning, from the code: as a JSON schema for editors, and as a page."""
