"""Which arrays can hold zeros, and masks over them."""
