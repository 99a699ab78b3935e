"""What a cell came to, for others: a selector's folder with its card, and its data, on a hub or beside it."""
