"""The synthetic chest: drawn, not recorded. It shows no patient."""
