"""Models: the embedded engine, the embedder, and the files both are loaded from."""
