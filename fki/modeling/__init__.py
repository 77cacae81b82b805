"""A model and its computations: loading, forward passes, decoding, the encoder cache, FLOPs."""
