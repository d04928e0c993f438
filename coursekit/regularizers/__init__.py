"""The subject of the course, from scratch: one module per family of regularizers."""
