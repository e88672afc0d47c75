"""How the catalog is kept: hashing, writing, and what need not be worked out twice."""
