"""What was found, as one HTML file that opens anywhere: no request leaves it."""
