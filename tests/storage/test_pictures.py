import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.core.errors import ImageError
from studio.core.requests import OutputOptions
from studio.storage.pictures import check_picture, encode, read_embedded, read_picture

MILLION = 1_000_000


def a_picture(mode="RGB", size=(48, 32)):
    return Image.effect_noise(size, 60).convert(mode)


def as_bytes(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png_header(width, height):
    """A PNG that promises a size and holds almost nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_usual_formats_are_read(format):
    picture = read_picture(as_bytes(a_picture(), format), max_pixels=MILLION)
    assert (picture.mode, picture.size) == ("RGB", (48, 32))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>"]
)
def test_what_is_no_picture_is_refused_with_a_sentence(data):
    with pytest.raises(ImageError, match=r"no picture that Easel can read\. Use a PNG"):
        check_picture(data, max_pixels=MILLION)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_picture_is_refused_with_a_sentence(format, share):
    data = as_bytes(a_picture(), format)
    with pytest.raises(ImageError, match=r"damaged or ends too early|no picture"):
        check_picture(data[: int(len(data) * share)], max_pixels=MILLION)


def test_random_damage_never_ends_in_another_error():
    random = np.random.default_rng(0)
    refused = 0
    for format in ("PNG", "JPEG", "WEBP", "GIF", "TIFF"):
        data = as_bytes(a_picture(), format)
        for _ in range(60):
            broken = bytearray(data)
            for place in random.integers(0, len(data), size=8):
                broken[place] = random.integers(0, 256)
            try:
                read_picture(bytes(broken), max_pixels=MILLION)
                read_embedded(bytes(broken), max_pixels=MILLION)
            except ImageError:
                refused += 1
    assert refused > 30


def test_a_picture_above_the_limit_is_refused_by_its_header():
    with pytest.raises(ImageError, match="2000 x 1000 pixels; at most 1 million"):
        check_picture(png_header(2000, 1000), max_pixels=MILLION)


def test_a_60000_px_bomb_is_refused_in_little_memory(tmp_path):
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(60_000, 60_000))
    program = """
import resource, sys
from studio.core.errors import ImageError
from studio.storage.pictures import read_picture
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_picture(data, max_pixels=40_000_000)
except ImageError as error:
    print(error)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 50_000, f"{grown} KB"
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(bomb)], capture_output=True, text=True, check=True
    )
    assert "has 60000 x 60000 pixels; at most 40 million are accepted" in result.stdout


def as_if_larger(data, format, size=(20_000, 20_000)):
    """The picture's file with another size in its header."""
    broken = bytearray(data)
    place, layout = {"BMP": (18, "<II"), "GIF": (6, "<HH"), "JPEG": (data.find(b"\xff\xc0") + 5, ">HH")}[
        format
    ]
    struct.pack_into(layout, broken, place, *size)
    return bytes(broken)


@pytest.mark.parametrize("format", ["JPEG", "GIF", "BMP"])
def test_the_size_of_a_bomb_is_told_in_every_format(format):
    with pytest.raises(ImageError, match="has 20000 x 20000 pixels; at most 1 million"):
        check_picture(as_if_larger(as_bytes(a_picture(), format), format), max_pixels=MILLION)


def test_a_bomb_whose_header_is_damaged_as_well_is_still_refused_as_too_large():
    bomb = as_if_larger(as_bytes(a_picture("RGB", (48, 32)), "GIF"), "GIF")
    frame = bomb.find(b"\x2c") + 1
    beyond = bomb[:frame] + struct.pack("<HHHH", 0, 0, 30_000, 30_000) + bomb[frame + 8 :]
    with pytest.raises(ImageError, match="at most 1 million are accepted"):
        check_picture(beyond, max_pixels=MILLION)


def test_a_text_chunk_that_inflates_to_gigabytes_is_refused():
    texts = PngInfo()
    texts.add_text("parameters", "a" * (80 * 2**20), zip=True)
    with pytest.raises(ImageError, match="damaged"):
        read_embedded(as_bytes(a_picture(), pnginfo=texts), max_pixels=MILLION)


def test_a_phone_picture_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture = read_picture(as_bytes(a_picture(), "JPEG", exif=exif), max_pixels=MILLION)
    assert picture.size == (32, 48)


def test_transparency_is_kept_where_it_is_asked_for():
    data = as_bytes(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))
    assert read_picture(data, max_pixels=MILLION, keep_alpha=True).getpixel((0, 0)) == (255, 0, 0, 0)


def test_transparency_is_laid_on_white_otherwise():
    data = as_bytes(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))
    assert read_picture(data, max_pixels=MILLION).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_is_laid_on_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 255, *([0] * 765)])
    data = as_bytes(image, "PNG", transparency=0)
    assert read_picture(data, max_pixels=MILLION).getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_greys_are_scaled_and_not_clipped():
    grey = Image.fromarray(np.full((8, 8), 32_896, dtype=np.uint16))
    assert read_picture(as_bytes(grey), max_pixels=MILLION).getpixel((0, 0)) == (128, 128, 128)


TEXTS = ["plain", "über, 猫: \n two lines", "x" * 50_000, "猫" * 40_000]


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("text", TEXTS, ids=["plain", "unicode", "long", "long unicode"])
def test_our_own_json_survives_in_every_format(format, text):
    embedded = read_embedded(
        encode(a_picture(), OutputOptions(format=format), text, text), max_pixels=MILLION
    )
    assert embedded.easel == text


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("text", TEXTS[:2], ids=["plain", "unicode"])
def test_the_infotext_survives_in_every_format(format, text):
    embedded = read_embedded(
        encode(a_picture(), OutputOptions(format=format), text, "{}"), max_pixels=MILLION
    )
    assert embedded.infotext == text


def test_an_infotext_too_long_for_jpeg_makes_way_for_our_json():
    data = encode(a_picture(), OutputOptions(format="jpeg"), "x" * 40_000, '{"prompt": "x"}')
    embedded = read_embedded(data, max_pixels=MILLION)
    assert (embedded.infotext, embedded.easel) == ("", '{"prompt": "x"}')


def test_a_jpeg_whose_settings_fit_nowhere_is_written_without_them():
    noise = "".join(map(chr, np.random.default_rng(0).integers(0x4E00, 0x9FFF, size=60_000)))
    data = encode(a_picture(), OutputOptions(format="jpeg"), noise, noise)
    assert read_embedded(data, max_pixels=MILLION).chunks == {}
    assert read_picture(data, max_pixels=MILLION).size == (48, 32)


def test_png_is_lossless_and_100_percent_webp_too():
    picture = a_picture()
    for output in (OutputOptions(format="png"), OutputOptions(format="webp", quality=100)):
        again = read_picture(encode(picture, output), max_pixels=MILLION)
        assert np.array_equal(np.asarray(again), np.asarray(picture))


def test_a_lower_quality_gives_a_smaller_file():
    picture = a_picture(size=(128, 128))
    for format in ("jpeg", "webp"):
        small, large = (
            len(encode(picture, OutputOptions(format=format, quality=quality))) for quality in (20, 95)
        )
        assert small < large


def test_transparent_pictures_become_jpeg_on_white():
    data = encode(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), OutputOptions(format="jpeg"))
    assert read_picture(data, max_pixels=MILLION).getpixel((4, 4)) == (255, 255, 255)


def test_text_after_the_pixels_is_found():
    texts = PngInfo()
    texts.add(b"tEXt", b"parameters\0late", after_idat=True)
    assert read_embedded(as_bytes(a_picture(), pnginfo=texts), max_pixels=MILLION).infotext == "late"


@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_exif_comments_of_both_byte_orders_are_read(order):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a red ball".encode(order)
    data = as_bytes(a_picture(), "JPEG", exif=exif)
    assert read_embedded(data, max_pixels=MILLION).infotext == "a red ball"


def test_another_studio_reads_our_jpeg_as_it_reads_a1111s():
    from sd_parsers.data import Generators
    from sd_parsers.extractors._jpeg_usercomment import jpeg_usercomment

    data = encode(a_picture(), OutputOptions(format="jpeg"), "a red ball", "{}")
    with Image.open(io.BytesIO(data)) as image:
        assert jpeg_usercomment(image, Generators.AUTOMATIC1111) == {"parameters": "a red ball"}
