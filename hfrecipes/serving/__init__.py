"""A saved model that answers: requests over HTTP, and people in a browser."""
