"""The Siamese network (`siamese`), its files (`checkpoint`) and its use (`predict`)."""
