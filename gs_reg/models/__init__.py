"""What is trained: Gaussians on the rays of pixels, free Gaussians, and those of CoherentGS with its decoders."""
