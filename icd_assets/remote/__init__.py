"""Results shared through an object store: pushed by content, pulled, compared, pruned there."""
