"""Artifacts on disk: manifests, digests, and commits that are whole or not there."""
