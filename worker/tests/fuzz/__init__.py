"""Random messages for a worker, and the worker that they are sent to."""
