"""The embedded engine: a causal language model run in process, batching concurrent requests."""
