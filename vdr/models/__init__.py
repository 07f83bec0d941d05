"""Networks and tokenizers; parameters are plain nested dicts of arrays."""
