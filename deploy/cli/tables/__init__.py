"""Tables on the terminal: how they are printed, and which columns common ones have."""
