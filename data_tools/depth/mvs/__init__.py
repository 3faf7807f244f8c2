"""Multi-view stereo on posed photos: plane sweep, semi-global matching, consistency between views, refinement."""
