"""Named parts of a scene: what teachers say of them in pictures, the field of labels that it makes, and who belongs."""
