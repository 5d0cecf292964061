"""The recovery kit as a page to print: its text, and the same text as QR codes.

The codes, read one after the other, are the file ``kit.txt`` byte for byte; nobody has to type a
key. The page is one file: no script, no font, nothing that is fetched.
"""

from html import escape
from io import BytesIO
from typing import Final

MOST_BYTES: Final = 400
"""Bytes of one code. Source: ours; on paper a module is then 0.6 mm wide, which any camera reads."""

_STYLE: Final = """
@page { margin: 15mm }
body { font: 11pt/1.4 sans-serif; color: #000; background: #fff; max-width: 180mm; margin: auto }
h1 { font-size: 18pt; margin: 0 0 2mm }
h2 { font-size: 13pt; margin: 6mm 0 2mm; break-after: avoid }
pre { font: 8pt/1.35 monospace; white-space: pre-wrap; overflow-wrap: anywhere;
      border: 1px solid #000; padding: 3mm }
figure { display: inline-block; margin: 0 4mm 4mm 0; break-inside: avoid; text-align: center }
figure svg { width: 55mm; height: 55mm; display: block }
figcaption { font-size: 9pt }
.secret { border: 2px solid #000; padding: 2mm 3mm; font-weight: bold }
"""


def kit_html(text: str, *, secret: bool) -> str:
    """Return the page.

    Args:
        text: The kit as text.
        secret: Whether it holds keys.
    """
    parts = slices(text)
    codes = "\n".join(
        f"<figure>{_code(part)}<figcaption>{number} of {len(parts)}</figcaption></figure>"
        for number, part in enumerate(parts, 1)
    )
    warning = (
        "Whoever holds this page can read every snapshot. Keep it in a safe, and no copy on a machine."
        if secret
        else "This page holds no key. The recovery key is kept elsewhere, and is needed with it."
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>drkeeper recovery kit</title>
<style>{_STYLE}</style>
<h1>drkeeper recovery kit</h1>
<p class="secret">{escape(warning)}</p>
<h2>When everything else is gone</h2>
<ol>
<li>Install drkeeper on an empty machine; for S3, set up the store's credentials.</li>
<li>Read the codes below in order, join what they say into one file, <code>kit.txt</code>; or type the text.</li>
<li><code>chmod 600 kit.txt</code></li>
<li><code>drkeeper rescue --identity kit.txt</code></li>
</ol>
<h2>The kit as codes</h2>
<div>
{codes}
</div>
<h2>The kit as text</h2>
<pre>{escape(text)}</pre>
</html>
"""


def slices(text: str) -> list[str]:
    """Cut a text at the ends of lines, and a line that is too long within; joined, they are the text."""
    parts = [""]
    for line in text.splitlines(keepends=True):
        rest = line
        while rest:
            room = MOST_BYTES - len(parts[-1].encode())
            if len(rest.encode()) <= room:
                parts[-1] += rest
                break
            if parts[-1] and len(rest.encode()) <= MOST_BYTES:
                parts.append("")
                continue
            piece = rest.encode()[:room].decode(errors="ignore")
            parts[-1] += piece
            rest = rest[len(piece) :]
            parts.append("")
    return [part for part in parts if part]


def _code(part: str) -> str:
    """Draw a code as inline SVG."""
    import segno  # noqa: PLC0415 - only for paper

    drawn = BytesIO()
    segno.make(part, micro=False, error="m", mode="byte", encoding="utf-8").save(
        drawn, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=4, nl=False
    )
    return drawn.getvalue().decode()
