"""What stands before a model's file: look-ups of texts that no file holds, features of sounds."""
