"""One reader each."""
