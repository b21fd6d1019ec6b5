"""What each loss term adds: the same recipe with subsets of the terms, over several seeds, evaluated on held-out patients."""
