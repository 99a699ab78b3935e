"""Dagster's web server with a guard in front of it, and with the reports of cells.

Gap: Dagster's own (1.13.27) answers any Host and any Origin, and takes orders by GET: an image tag on any page
that a user has open launches runs, and DNS rebinding reads all that there is. It offers ``--read-only``, no more.
"""
