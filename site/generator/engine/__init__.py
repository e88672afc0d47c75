"""How a site is built: which outputs there are to make, making them, and putting them in place."""
