"""The pointer selector: model, decoding, proposals, losses, training and checkpoints."""
