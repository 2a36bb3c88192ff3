"""The animated picture of a terminal, from a small program."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from bench.terminal import frames, picture

PROGRAM = r"printf '\033[1;32mheld\033[0m <table>\r\n'; sleep 1; printf '\033[Aover <table>\r\n'"
SVG = "{http://www.w3.org/2000/svg}"


def test_a_program_s_screens_become_frames_in_its_colors() -> None:
    shown = [*frames(["sh", "-c", PROGRAM], every=0.4)]
    texts = [re.sub("<[^>]*>", "", frame[0]).strip() for frame in shown]
    assert list(dict.fromkeys(texts)) == ["held &lt;table&gt;", "over &lt;table&gt;"]
    assert '<tspan fill="#9ece6a" font-weight="bold">held</tspan>' in shown[0][0]


def test_the_picture_draws_a_row_once_and_each_frame_where_its_step_shows_it() -> None:
    root = ET.fromstring(picture([("<tspan>one</tspan>", "", "same"), ("<tspan>two</tspan>", "", "same")]))
    height = float(root.attrib["height"])
    assert len(root.findall(f".//{SVG}text")) == 3
    heights = [float(use.attrib["y"]) for use in root.iter(f"{SVG}use")]
    assert [int(y // height) for y in heights] == [0, 0, 1, 1]
    style = root.findtext(f"{SVG}style") or ""
    assert style.count("translateY") == 3  # two steps, and the last frame without motion
