"""Files and folders are written completely or not at all, and never replace others by accident."""

from composer.files.file import check_file_free as check_file_free
from composer.files.file import write_file as write_file
