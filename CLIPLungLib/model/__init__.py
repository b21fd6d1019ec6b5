"""The CLIP-Lung network: image encoders, text encoders, prompts and losses. Needs torch."""
