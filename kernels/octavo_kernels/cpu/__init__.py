"""The C++ backend: sources, build, ctypes bindings."""
