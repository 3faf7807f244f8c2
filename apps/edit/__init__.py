"""`gs-reg edit`: changes one part of splats by text, by pictures that a user edited, or removes it."""
