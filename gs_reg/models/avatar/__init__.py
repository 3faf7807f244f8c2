"""Head avatars (NPGA): one canonical cloud, moved by expression codes."""

from gs_reg.models.avatar.config import AvatarConfig
from gs_reg.models.avatar.model import Avatar
from gs_reg.models.avatar.saving import load_avatar, save_avatar
from gs_reg.models.avatar.start import CloudConfig, start_cloud

__all__ = ["Avatar", "AvatarConfig", "CloudConfig", "load_avatar", "save_avatar", "start_cloud"]
