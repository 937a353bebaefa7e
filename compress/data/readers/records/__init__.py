"""Records on disk: TFRecord files, and data sets that Hugging Face's `datasets` wrote."""
