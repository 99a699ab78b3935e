"""A folder of Lever-Plus' results: what lies in it, and what of it is taken as the pipeline's own artifacts."""
