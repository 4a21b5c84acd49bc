"""Alignments of a protein's relatives: reading them, choosing rows, and the profile of a protein."""
