"""Tokenizer and model: loaded, adapted, saved as an ordinary model directory."""
