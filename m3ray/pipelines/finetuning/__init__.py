"""Finetuning through Ray Train: streams of frames, workers, checkpoints."""
