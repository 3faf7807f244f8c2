"""Head avatars (NPGA): one canonical cloud, moved by expression codes."""

from gs_reg.models.avatar.config import AvatarConfig
from gs_reg.models.avatar.model import Avatar

__all__ = ["Avatar", "AvatarConfig"]
