"""The most similar nodules of the training data, with their readers' ratings."""
