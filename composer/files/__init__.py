"""A file or a folder is written whole or not at all, and never over another by accident."""

from composer.files.file import check_file_free as check_file_free
from composer.files.file import write_file as write_file
