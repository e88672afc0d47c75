"""What is measured: models traced without weights, and variants really run. The only folder that imports torch."""
