"""Is all well? What is fresh, stale, damaged or left over, and what would stop a run."""
