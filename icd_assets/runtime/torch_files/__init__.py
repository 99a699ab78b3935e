"""Files of ``torch.save``, read without trusting them: the container, the walk over its pickle, the tensors."""
