"""The page of an avatar: expressions, the head's pose, what drives it."""
