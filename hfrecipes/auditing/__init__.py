"""How much a trained model tells about its training rows: attacks on it, with their intervals; docs/privacy.md."""
