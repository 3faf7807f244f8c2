"""What training starts from: Gaussians at random, and for surfaces that no photo saw."""
