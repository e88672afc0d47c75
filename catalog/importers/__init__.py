"""Results of tools that people run already, read in the catalog's own words. A format is one file with the same few names as its neighbours."""
