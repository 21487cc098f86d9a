"""Networks that were trained elsewhere to predict memorability from an image: tiers, baselines, scores untrained here.

What is known of each stands in `facts`, which imports no torch.
"""
