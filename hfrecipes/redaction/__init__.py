"""Names and numbers of people in texts: what is recognised, and what is written in their place."""
