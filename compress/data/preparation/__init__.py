"""What is done to samples before a model sees them, in training and afterwards alike."""
