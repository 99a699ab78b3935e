"""The built-in world: data and tiny models in which choosing demonstrations really matters."""
