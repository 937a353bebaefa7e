"""Operations rewritten for file formats before a model is traced."""
