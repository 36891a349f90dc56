"""Picture files: PNG to keep and small WebP for pages, each saying that a machine made it."""

import html
from io import BytesIO
from typing import Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data.provenance import AI_LABEL, SOFTWARE
from studio.words.take import Picture

_WEBP_QUALITY: Final = 86
_WEBP_METHOD: Final = 4
# Exif would do for a Latin comment only: its texts are ASCII.
_XMP: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{comment}</rdf:li></rdf:Alt></dc:description>
<xmp:CreatorTool>{software}</xmp:CreatorTool>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


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


def _xmp(comment: str) -> bytes:
    return _XMP.format(comment=html.escape(comment), software=SOFTWARE).encode()
