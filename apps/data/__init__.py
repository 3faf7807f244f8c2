"""Commands about data folders, before anything is trained."""
