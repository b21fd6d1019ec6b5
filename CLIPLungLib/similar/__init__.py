"""Cases of the training data that the network finds like the one at hand, with what their readers said of them."""
