"""`gs-reg avatar`: drivable head avatars from multi-view video; every command a file."""
