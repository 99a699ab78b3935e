"""A trained selector in one's own code."""
