"""Why a model predicts what it does: attributions to words, and what follows from them for a run."""
