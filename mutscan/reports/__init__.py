"""The report of a saved run, and the digest that the terminal shares with it."""
