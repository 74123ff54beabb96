"""tersor: learned codecs for images, sound and scientific fields, in files that stay readable."""

from tersor.api import Codec as Codec
from tersor.api import File as File
from tersor.api import decode as decode
from tersor.api import encode as encode
from tersor.api import info as info
from tersor.api import list_codecs as list_codecs
from tersor.api import open as open
from tersor.errors import TersorError as TersorError
from tersor.facts import Facts as Facts
from tersor.signals import Audio as Audio
from tersor.signals import Field as Field
from tersor.signals import FieldSet as FieldSet
from tersor.signals import Image as Image

__version__ = "0.1.0"
__all__ = [
    "Audio",
    "Codec",
    "Facts",
    "Field",
    "FieldSet",
    "File",
    "Image",
    "TersorError",
    "decode",
    "encode",
    "info",
    "list_codecs",
    "open",
]
