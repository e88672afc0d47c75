"""The site as data: the JSON API, tables, feeds, the search index, model cards for the hub."""
