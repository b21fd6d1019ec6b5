"""What each term of the training adds: the same recipe with fewer terms, by several seeds, judged on patients left out."""
