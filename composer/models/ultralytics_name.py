"""What may follow ``ultralytics:``, checked without the library."""

from __future__ import annotations

from composer.errors import error


def check_ultralytics_name(name: str) -> None:
    """Refuse what is not a configuration.

    Raises:
        ComposerError: it is a file of weights, or something else.
    """
    if name.endswith((".yaml", ".yml")):
        return
    if name.endswith(".pt"):
        raise error(
            "unknown-backbone",
            f"ultralytics:{name} is a pickle, and code in a file is never run",
            "if you trust it, insert in Python: composer.insert(YOLO('yolov8n.pt').model, …)",
        )
    raise error(
        "unknown-backbone",
        f"ultralytics:{name} is not a configuration",
        f"write ultralytics:{name or 'yolov8n'}.yaml",
    )
