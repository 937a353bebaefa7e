"""edgepress beside its peers: the same weights, data, epochs and seeds; writes docs/peers.md."""
