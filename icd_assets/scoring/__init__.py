"""What an answer is worth: the VQA metric, rewards, InfoScore, RL data."""
