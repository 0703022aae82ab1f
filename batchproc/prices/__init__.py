"""Knows what models cost: a small dated table, a file of the user's, a package if it is installed."""
