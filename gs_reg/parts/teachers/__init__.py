"""Teachers of part maps: networks, files and clicks that say where the parts of an object are in pictures of it."""
