"""What dataset a folder holds: its files, their columns, its splits, where its images lie. Nothing is changed."""
