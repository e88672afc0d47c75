"""What is known: one record class a file, and the JSON Schemas that editors read."""
