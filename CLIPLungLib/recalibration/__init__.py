"""Probabilities and size intervals of a trained network, refitted to local cases (`cliplung calibrate`)."""
