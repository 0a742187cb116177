"""Pictures from strangers: decoded with bounds."""

import io
from typing import Any

from yunmo.core.errors import InvalidRequest

MAX_PIXELS = 40_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def open_image(data: bytes) -> Any:
    """The RGB picture in these bytes, upright.

    Raises InvalidRequest if there is none, if it is broken, or if it has more than 40 million pixels (told from its header, before decoding).
    """
    from PIL import Image, ImageOps

    if not data:
        raise InvalidRequest("the picture is empty: send the bytes of a PNG, JPEG, WebP, GIF or BMP file", param="image")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InvalidRequest(_too_large(f"{image.width} x {image.height}"), param="image")
            return ImageOps.exif_transpose(image).convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidRequest(_too_large("far more"), param="image") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise InvalidRequest(
            f"the picture cannot be read ({type(error).__name__}): send an undamaged PNG, JPEG, WebP, GIF or BMP file", param="image"
        ) from None


def pixels_of(processor: Any, image: Any) -> Any:
    """The picture as an image processor's tensors. Raises InvalidRequest for one that is too narrow to be scaled to the model's size."""
    try:
        return processor(images=image, return_tensors="pt")
    except ValueError as error:
        raise InvalidRequest(
            f"the picture of {image.width} x {image.height} pixels is too narrow for this model: crop it, or give it a border",
            param="image",
        ) from error


def png_of(mask: Any) -> bytes:
    """A grey picture as a PNG file."""
    buffer = io.BytesIO()
    mask.convert("L").save(buffer, "PNG")
    return buffer.getvalue()


def _too_large(size: str) -> str:
    return f"the picture has {size} pixels; at most {MAX_PIXELS:,} are read: scale it down"
