"""One cell: what is to be made of it, from what, with which settings, and where it lies."""
