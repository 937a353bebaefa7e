"""The validation split that is drawn where the data has none."""
