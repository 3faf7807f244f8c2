"""Groups of controls of a page: each function adds one to the tab that is open."""
