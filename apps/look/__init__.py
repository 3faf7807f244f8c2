"""Pictures, videos, the report page and exported files of a run."""
