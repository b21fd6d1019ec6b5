"""How good a model is: figures of merit out of fold, robustness, saliency. Needs the packages of the extra `train`."""
