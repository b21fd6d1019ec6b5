"""Qt pieces of the CLIPLung module. A package, because every .py beside CLIPLung.py would be taken for a module."""
