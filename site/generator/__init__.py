"""How it is shown: a pure projection of catalog and advisor into a list of outputs, which MkDocs writes."""
