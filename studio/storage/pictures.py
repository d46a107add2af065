"""Pictures from outside, decoded with care; pictures of ours, encoded with the settings that made them.

Where the settings lie in a file:

    PNG           text chunk `parameters` (A1111's infotext) and text chunk `easel` (our own JSON)
    JPEG, WebP    EXIF `UserComment` (the infotext, as in A1111) and EXIF `MakerNote` (our JSON, deflated)
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from studio.core.errors import ImageError
from studio.core.geometry import Extent
from studio.core.requests import OutputOptions

INFOTEXT_CHUNK = "parameters"
EASEL_CHUNK = "easel"

THUMBNAIL_SIDE = 256
"""Longest side of a thumbnail, px."""

_READABLE = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that are accepted; Pillow knows more, some of which start other programs."""

_SIGNS_OF_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip
"""What Pillow raises, depending on where a file is broken."""

_UNICODE = b"UNICODE\0"
_EASEL = b"Easel\0"
_MAX_JPEG_EXIF = 65_533 - len(b"Exif\0\0")
_MAX_JSON = 16 * 2**20


@dataclass(frozen=True)
class EmbeddedSettings:
    """The texts in a picture's file.

    Attributes:
        chunks: by name; `parameters` holds an infotext, `easel` our own JSON, the rest is other studios'.
        extent: the picture's size, px, as stored (before its EXIF orientation).
        media_type: by the file's first bytes, as its name can say anything.
    """

    chunks: Mapping[str, str]
    extent: Extent
    media_type: str

    @property
    def infotext(self) -> str:
        return self.chunks.get(INFOTEXT_CHUNK, "")

    @property
    def easel(self) -> str:
        return self.chunks.get(EASEL_CHUNK, "")


def read_picture(data: bytes, *, max_pixels: int, keep_alpha: bool = False) -> Image.Image:
    """Decode a picture, upright as its EXIF orientation says.

    Args:
        data: the file's bytes.
        max_pixels: largest width x height; looked up in the header, before anything is decoded.
        keep_alpha: give RGBA where the file has transparency. Otherwise it is laid on white.

    Returns: a picture in mode RGB, or RGBA.

    Raises: ImageError.
    """
    with _opened(data, max_pixels) as image:
        image.load()
        return _as_rgb(_upright(image), keep_alpha)


def read_mask(data: bytes, *, max_pixels: int) -> Image.Image:
    """Decode a mask, upright: light where it holds.

    Where the file has transparency, its alpha channel is the mask, whatever the colours: what was painted on
    a transparent layer is opaque, as in A1111. Opacity that is the same everywhere says nothing, so there, as
    in files without transparency, the light of the colours counts. A layer that is transparent everywhere is
    one on which nothing was painted.

    Returns: a grey picture (mode L).

    Raises: ImageError.
    """
    picture = read_picture(data, max_pixels=max_pixels, keep_alpha=True)
    if picture.mode != "RGBA":
        return picture.convert("L")
    alpha = picture.getchannel("A")
    is_even, is_empty = alpha.getcolors(1) is not None, alpha.getbbox() is None
    return picture.convert("RGB").convert("L") if is_even and not is_empty else alpha


def check_picture(data: bytes, *, max_pixels: int) -> Extent:
    """Make sure that `data` is a whole picture of an accepted size. Returns its size. Raises: ImageError."""
    with _opened(data, max_pixels) as image:
        image.load()
        return Extent(width=image.width, height=image.height)


def read_embedded(data: bytes, *, max_pixels: int) -> EmbeddedSettings:
    """The settings in a picture's file, whoever wrote them. Raises: ImageError."""
    with _opened(data, max_pixels) as image:
        chunks = _texts(image.info)
        if image.format == "PNG" and not chunks:
            image.load()  # Text may also follow the pixels.
            chunks = _texts(image.info)
        elif image.format != "PNG":
            chunks = _exif_texts(image.getexif())
        extent = Extent(width=image.width, height=image.height)
        return EmbeddedSettings(chunks, extent, Image.MIME[str(image.format)])


def encode(image: Image.Image, output: OutputOptions, infotext: str = "", easel: str = "") -> bytes:
    """A picture's file, its settings inside.

    JPEG has room for 64 KB of EXIF. Where both texts are longer, the infotext is left out (our JSON holds
    the same and more), and in the extreme both: then only the library's index knows the settings.

    Args:
        image: RGB or RGBA; JPEG has no transparency and gets it laid on white.
        infotext: A1111's generation parameters.
        easel: our own JSON.
    """
    file = io.BytesIO()
    if output.format == "png":
        # Level 3 takes a third of the time of the usual 6, for about the same size.
        image.save(file, "PNG", compress_level=3, pnginfo=_png_texts(infotext, easel))
    elif output.format == "webp":
        exif = _exif(infotext, easel)
        image.save(file, "WEBP", quality=output.quality, lossless=output.quality == 100, exif=exif)
    else:
        candidates = (_exif(infotext, easel), _exif("", easel), b"")
        exif = next(each for each in candidates if len(each) <= _MAX_JPEG_EXIF)
        _as_rgb(image, keep_alpha=False).save(file, "JPEG", quality=output.quality, exif=exif)
    return file.getvalue()


def encode_thumbnail(picture: Image.Image) -> bytes:
    """A small WebP of a picture, at most 256 px a side."""
    small = picture.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=80)
    return file.getvalue()


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The picture with only its header read, its size checked; and whatever breaks in the block explained."""
    try:
        with Image.open(io.BytesIO(data), formats=_READABLE) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(_pixels(image), max_pixels)
            yield image
    except UnidentifiedImageError as error:
        raise ImageError(
            "This file is no picture that Easel can read.",
            "Use a PNG, JPEG, WebP, GIF, BMP or TIFF file.",
        ) from error
    except Image.DecompressionBombError as error:
        # Pillow's own, far higher limit comes before ours, and tells no size.
        raise _too_large(_told_size(data), max_pixels) from error
    except _SIGNS_OF_DAMAGE as error:
        raise ImageError(
            "This picture's file is damaged or ends too early.",
            "Open it in a picture editor, save it anew, and use that file.",
        ) from error


def _told_size(data: bytes) -> str:
    """The size in the header of a picture that Pillow declines to open; nothing is decoded for it."""
    for factory, accept in (Image.OPEN[name] for name in _READABLE):
        if accept is None or accept(data[:16]) is True:
            with (
                suppress(Image.DecompressionBombError, *_SIGNS_OF_DAMAGE),
                factory(io.BytesIO(data), "") as image,
            ):
                return _pixels(image)
    return "far more pixels"


def _pixels(image: Image.Image) -> str:
    return f"{image.width} x {image.height} pixels"


def _too_large(size: str, max_pixels: int) -> ImageError:
    side = int(max_pixels**0.5)
    return ImageError(
        f"This picture has {size}; at most {max_pixels / 1e6:g} million are accepted.",
        f"Scale it down to {side} x {side} or less.",
    )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _SIGNS_OF_DAMAGE:
        return image  # Damaged EXIF is no reason to refuse a whole picture.


def _as_rgb(image: Image.Image, keep_alpha: bool) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow clips 16 bit greys to 255 instead of scaling them.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    if keep_alpha:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _texts(info: Mapping[str | tuple[int, int], object]) -> dict[str, str]:
    return {str(key): value for key, value in info.items() if isinstance(value, str)}


def _png_texts(infotext: str, easel: str) -> PngInfo:
    texts = PngInfo()
    for name, text in ((INFOTEXT_CHUNK, infotext), (EASEL_CHUNK, easel)):
        if text:
            texts.add_text(name, text)  # tEXt, or iTXt where Latin-1 does not do
    return texts


def _exif(infotext: str, easel: str) -> bytes:
    exif = Image.Exif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    if infotext:
        details[ExifTags.Base.UserComment] = _UNICODE + infotext.encode("utf-16-be", "replace")
    if easel:
        details[ExifTags.Base.MakerNote] = _EASEL + zlib.compress(easel.encode(), 9)
    return exif.tobytes() if infotext or easel else b""


def _exif_texts(exif: Image.Exif) -> dict[str, str]:
    details = exif.get_ifd(ExifTags.IFD.Exif)
    texts = {
        INFOTEXT_CHUNK: _comment(details.get(ExifTags.Base.UserComment)),
        EASEL_CHUNK: _own_note(details.get(ExifTags.Base.MakerNote)),
        **_comfy_texts(exif),
    }
    return {name: text for name, text in texts.items() if text}


def _comment(value: object) -> str:
    """EXIF's UserComment: eight bytes that name the encoding, then the text."""
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return ""
    code, text = value[:8], value[8:]
    if code == _UNICODE:
        # The standard follows the file's byte order, most writers use big endian whatever it is.
        little = text[1::2].count(0) > text[0::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", "replace").rstrip("\0")
    return text.decode("utf-8", "replace").rstrip("\0")


def _own_note(value: object) -> str:
    if not isinstance(value, bytes) or not value.startswith(_EASEL):
        return ""
    return zlib.decompressobj().decompress(value[len(_EASEL) :], _MAX_JSON).decode()


def _comfy_texts(exif: Image.Exif) -> dict[str, str]:
    """ComfyUI's WebP files hold `prompt:{...}` and `workflow:{...}` in the camera's model and make."""
    values = (exif.get(tag) for tag in (ExifTags.Base.Model, ExifTags.Base.Make))
    pairs = (value.partition(":") for value in values if isinstance(value, str))
    return {name: text for name, _, text in pairs if name in ("prompt", "workflow")}
