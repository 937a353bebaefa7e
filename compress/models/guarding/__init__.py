"""The one place where Keras files and archives of arrays are opened: what they may pull in."""
