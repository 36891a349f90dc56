"""Picture files: PNG to keep and small WebP for pages, each saying that a machine made it; and other people's."""

import html
from io import BytesIO
from typing import BinaryIO, Final

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from data.provenance import AI_LABEL, SOFTWARE
from studio.words.take import Picture

_WEBP_QUALITY: Final = 86
_WEBP_METHOD: Final = 4
_FORMATS: Final = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
# Exif would do for a Latin comment only: its texts are ASCII.
_XMP: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{comment}</rdf:li></rdf:Alt></dc:description>
<xmp:CreatorTool>{software}</xmp:CreatorTool>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def square_webp(content: bytes, *, size_px: int) -> bytes:
    """The middle of a picture as a square of ``size_px`` pixels on white, without anything else it carried.

    Args:
        content: a WebP that we wrote (`data.uploads.checked_picture`); a stranger's file must not come here.
    """
    with Image.open(BytesIO(content), formats=("WEBP",)) as opened:
        whole = opened.convert("RGBA")
    small = ImageOps.fit(whole, (size_px, size_px), Image.Resampling.LANCZOS)
    ground = Image.new("RGBA", small.size, "white")
    made = BytesIO()
    Image.alpha_composite(ground, small).convert("RGB").save(made, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD)
    return made.getvalue()


def encode_png(picture: Picture, *, comment: str = AI_LABEL) -> bytes:
    """The picture as it is, lossless, with ``comment`` and the software in text chunks (PNG 3rd edition, 11.3.3)."""
    info = PngInfo()
    info.add_itxt("Comment", comment)
    info.add_text("Software", SOFTWARE)
    content = BytesIO()
    Image.fromarray(picture.pixels).save(content, "PNG", pnginfo=info, optimize=False)
    return content.getvalue()


def encode_webp(picture: Picture, *, size_px: int, comment: str = AI_LABEL) -> bytes:
    """The picture as a square of ``size_px`` pixels, with ``comment`` and the software as XMP (ISO 16684-1)."""
    content = BytesIO()
    small = Image.fromarray(picture.pixels).resize((size_px, size_px), Image.Resampling.LANCZOS)
    small.save(content, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD, xmp=_xmp(comment))
    return content.getvalue()


def load_decoders() -> None:
    """Have Pillow load now what it loads with the first picture: afterwards `cleaned` opens no file."""
    for form in _FORMATS.values():
        content = BytesIO()
        Image.new("RGB", (1, 1)).save(content, form)
        cleaned(content, form.lower(), most_pixels=1, side_px=1)


def cleaned(content: BinaryIO, form: str, *, most_pixels: int, side_px: int) -> bytes | None:
    """The first frame of somebody else's picture, upright, as a WebP that carries nothing but its pixels.

    Args:
        form: ``png``, ``jpeg`` or ``webp``; no other reader is tried.
        side_px: a larger one is made smaller, to so many pixels along its longer side.

    Returns:
        None: it has too many pixels, which is told by its header before any is unpacked. Whatever Pillow trips over in
        a damaged file is passed on as it is.
    """
    with Image.open(content, formats=[_FORMATS[form]]) as picture:
        width, height = picture.size
        if width * height > most_pixels:
            return None
        ImageOps.exif_transpose(picture, in_place=True)
        plain = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    plain.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    # Profiles, tags and texts stay behind.
    plain.info.clear()
    clean = BytesIO()
    plain.save(clean, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD)
    return clean.getvalue()


def _xmp(comment: str) -> bytes:
    return _XMP.format(comment=html.escape(comment), software=SOFTWARE).encode()
