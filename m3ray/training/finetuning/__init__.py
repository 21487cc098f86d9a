"""Networks and head trained together from frames, in plain PyTorch."""
