"""Experiment trackers: TensorBoard, Weights & Biases, MLflow and trackio behind one interface."""
