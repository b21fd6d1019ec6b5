"""Evaluation: out-of-fold metrics, robustness, tables. Needs the packages of the extra `train`."""
