"""VQA and caption datasets: rows in a fixed order, and their images."""
