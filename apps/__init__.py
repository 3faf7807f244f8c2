"""Programs on the library: command line, demo, bench, report, plugin."""
