"""How faithful the heat maps are: localisation, deletion and insertion, dependence on the weights."""
