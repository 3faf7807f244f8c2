"""Fields that move an avatar's Gaussians by expression codes: coarse motion, details, and how they are distilled."""
