"""How many zeros each kernel gets."""
