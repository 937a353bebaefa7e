"""What files are made from and compared with: Keras models, and files of other kinds."""
