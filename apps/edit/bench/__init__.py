"""`gs-reg edit bench`: parts and edits of procedural objects, whose truth is known."""
