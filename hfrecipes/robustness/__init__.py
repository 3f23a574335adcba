"""How a model copes with texts as people type them: the same rows with typos, other case, other names, and so on."""
