"""Comparison of ways to choose demonstrations, on validation queries."""
