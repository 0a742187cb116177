"""Files that a project keeps for its jobs, and uploads in parts on their way to become one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
"""What people upload files for."""

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
UploadStatus = Literal["pending", "completed", "cancelled", "expired"]


@dataclass(frozen=True, slots=True)
class File:
    """One file; its bytes never change."""

    id: str
    project: str
    filename: str
    purpose: str
    size: int
    key: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that comes in parts; `size` is what was announced (None: it is whatever comes), `file` what it became."""

    id: str
    project: str
    filename: str
    purpose: str
    size: int | None
    status: UploadStatus
    created_at: datetime
    expires_at: datetime
    keep_seconds: int | None
    file: File | None


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload."""

    id: str
    upload_id: str
    size: int
    key: str
    created_at: datetime
