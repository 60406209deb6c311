"""The doctor: finds out what a model server can really do, by asking it."""
