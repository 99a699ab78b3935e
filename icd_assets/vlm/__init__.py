"""Vision-language models: prompts, backends that answer them, and the store that keeps the answers."""
