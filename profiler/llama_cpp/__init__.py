"""llama.cpp as an engine: its library, its file format, its own memory numbers, and real runs. One worker process a
question."""
