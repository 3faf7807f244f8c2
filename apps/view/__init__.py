"""The viewer: pages in the browser on which splats, photos, avatars, edits and running fits are looked at."""
