"""Commands about the installation: doctor and version."""
