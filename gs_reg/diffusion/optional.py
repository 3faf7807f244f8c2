"""The one sentence that is said where diffusers is missing."""

from __future__ import annotations

from gs_reg.errors import MissingPart


def require_diffusers() -> None:
    """Raises MissingPart with what to install."""
    try:
        import diffusers  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingPart(f"diffusers and transformers are needed: pip install 'gs-reg[edit]' ({error})") from error
