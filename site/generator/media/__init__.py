"""Pictures: badges and share images."""
