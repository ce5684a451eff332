"""The classes by which scores are told apart; in a file of their own, so that a page about them needs no torch."""

POSITIONS = (0, 256, 1_024, 4_096, 16_384)  # bytes from a document's beginning, where a class of places begins
LENGTHS = (0, 1_024, 4_096, 16_384, 65_536)  # bytes of a document, where a class of lengths begins
