"""Element types of model files, and what a load checks whatever the backend."""
