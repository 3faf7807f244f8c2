"""Run folders: what was asked for, how far it came, how it goes on."""
