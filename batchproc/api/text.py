"""The text in an answer, wherever an API puts it."""

from __future__ import annotations

from typing import Any


def text_of(body: Any) -> str | None:
    """Of chat completions, completions, responses and messages; None where there is no text."""
    if not isinstance(body, dict):
        return None
    if choices := _objects(body.get("choices")):
        message = choices[0].get("message")
        return _text(message.get("content") if isinstance(message, dict) else choices[0].get("text"))
    if "output" in body:  # responses: items, of which messages have parts
        parts = [p for item in _objects(body["output"]) for p in _objects(item.get("content"))]
        return _joined(p for p in parts if p.get("type") == "output_text")
    return _text(body.get("content"))


def _text(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    return _joined(part for part in _objects(content) if part.get("type") == "text")


def _joined(parts: Any) -> str | None:
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    return "".join(texts) if texts else None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
