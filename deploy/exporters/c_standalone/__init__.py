"""Plain C99 of an int8 network, without an interpreter."""
