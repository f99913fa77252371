"""What the pictures share: colours for light and dark pages, and the frame of an SVG.

A picture is one file without foreign parts. It follows the page's colour scheme by a media query, which browsers evaluate
in an <img> too.
"""

from xml.sax.saxutils import escape

SANS = 'system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif'
MONO = 'ui-monospace,"SF Mono","Cascadia Mono","DejaVu Sans Mono",Menlo,Consolas,monospace'

# Each pair of text and ground has a contrast of at least 4.5 (WCAG 2.1, level AA).
LIGHT = {"ground": "#ffffff", "card": "#f6f7f9", "line": "#c9ced6", "ink": "#1b1d21", "soft": "#585e68", "blue": "#1d5c9e",
         "good": "#1f6b3a", "bad": "#a1251b", "wash": "#e4edf7"}
DARK = {"ground": "#0d1117", "card": "#171b22", "line": "#3d444d", "ink": "#e9eaec", "soft": "#a5abb6", "blue": "#84b6f1",
        "good": "#83d3a0", "bad": "#ff9a90", "wash": "#22344a"}


def variables(colours):
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


def picture(width, height, title, description, rules, parts):
    """The text of an SVG. `title` and `description` are what a screen reader says."""
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(title)}</title>',
        f'<desc id="d">{escape(description)}</desc>',
        "<style>",
        f"svg{{{variables(LIGHT)};--mono:{MONO};font-family:{SANS};font-size:13px}}",
        f"@media(prefers-color-scheme:dark){{svg{{{variables(DARK)}}}}}",
        "text{fill:var(--ink)}",
        *rules,
        "</style>",
        f'<rect width="{width}" height="{height}" rx="10" fill="var(--ground)"/>',
        *parts,
        "</svg>", ""])


def text(x, y, words, classes="", anchor="start"):
    kind = f' class="{classes}"' if classes else ""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:g}" y="{y:g}"{kind}{side}>{escape(words)}</text>'
