"""Evaluation: out-of-fold metrics, robustness, saliency. Needs the packages of the extra `train`."""
