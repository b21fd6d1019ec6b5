"""The network (image encoders, heads, prompts, text encoders) and the second reader. Needs torch."""
