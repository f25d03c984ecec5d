"""Weights of whisper-apr's speaker networks: `segmentation.npz` and `embedding.npz`."""
