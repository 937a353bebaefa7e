"""Random changes of training batches, each drawn from (seed, epoch, batch) alone."""
