"""Escaping of external texts for terminals and spreadsheets."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_common.rich_console import Console, titled_panel
from dejavu_common.shown_text import spreadsheet_cell, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\u001b[31mred"),
        ("\x1b]0;title\x07", r"\u001b]0;title\u0007"),
        ("\x9b2J", r"\u009b2J"),  # the same in one byte of C1
        ("\u202etxt.exe\u2066", r"\u202etxt.exe\u2066"),
        ("\u2028\u2029\x85", r"\u2028\u2029\u0085"),
        ("\U000e0041", r"\udb40\udc41"),
        ("\udcff", r"\udcff"),
        ("José's Ωmega — 85 % 🏀\n\tBOS", "José's Ωmega — 85 % 🏀\n\tBOS"),
    ],
)
def test_what_acts_on_a_terminal_or_cannot_be_seen_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_no_control_or_format_character_stays() -> None:
    shown = visible("".join(map(chr, range(sys.maxunicode + 1))), line=True)
    assert not [f"{ord(each):x}" for each in shown if unicodedata.category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


@given(st.text())
def test_a_json_document_stays_one_of_the_same_values(text: str) -> None:
    assert json.loads(visible(json.dumps({"text": text}, ensure_ascii=False))) == {"text": text}


def test_a_cell_that_a_spreadsheet_would_run_is_a_text() -> None:
    for first in ("=", "+", "-", "@", "\t", "\r", "\uff1d"):
        assert spreadsheet_cell(f"{first}cmd|' /C calc'!A0") == f"'{first}cmd|' /C calc'!A0"
    for harmless in ("", "BOS", "0022300061", "'quoted"):
        assert spreadsheet_cell(harmless) == harmless


def test_a_console_prints_texts_without_their_markup_links_and_escapes() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system="truecolor")
    hostile = "[bold red]a[/] [link=https://evil.test]b[/link] :smile: \x1b]8;;https://evil.test\x1b\\c\u202e"
    console.print(hostile, highlight=False)
    console.print(titled_panel(hostile, hostile), style="bold")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert plain.count("[bold red]a[/] [link=https://evil.test]b[/link] :smile: ") == 3
    assert "\x1b" not in plain
    assert "\u202e" not in plain


PROGRAM = r"""
import logging, sys, warnings
from dejavu_common.shown_text import escape_output
escape_output()
print("\x1b[2J out", "\u202e")
sys.stderr.writelines(["\x1b[2J", " err\n"])
logging.warning("\x1b[2J logged")
warnings.warn("\x1b[2J warned")
raise SystemError("\x1b[2J raised")
"""


def test_whatever_a_program_writes_is_escaped() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ended.stdout == "\\u001b[2J out \\u202e\n"
    assert [f"\\u001b[2J {each}" in ended.stderr for each in ("err", "logged", "warned", "raised")] == [True] * 4
    assert "\x1b" not in ended.stderr
