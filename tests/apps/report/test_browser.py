"""The page in a real browser: nothing complains, all pictures are there, a phone need not scroll sideways."""

import pytest

from slowfast_mlp.apps.report.write import write_comparison
from tests.apps.report.browser import PROGRAMS, Browser, find_browser

PICTURES = "[...document.images].map(image => image.complete && image.naturalWidth > 0)"
WIDTH = "[document.documentElement.scrollWidth, window.innerWidth]"
DRAWN = "[...document.querySelectorAll('figure > svg')].map(svg => svg.getBoundingClientRect().width > 200)"
GROUND = "getComputedStyle(document.body).backgroundColor"
INK = "getComputedStyle(document.querySelector('svg text')).fill"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_browser()
    if program is None:
        pytest.skip(f"no Chromium here (looked for {', '.join(PROGRAMS)})")
    with Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False), (1280, True)])
def test_a_page_shows_all_without_a_complaint_and_fits(browser, page, width, dark):
    browser.complaints.clear()
    browser.show(page, width=width, height=844, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(one => one.open = true)")
    pictures = browser.value(PICTURES)
    assert len(pictures) > 20 and all(pictures)
    drawn = browser.value(DRAWN)
    assert len(drawn) >= 7 and all(drawn)
    needed, there = browser.value(WIDTH)
    assert needed <= there
    assert browser.complaints == []
    assert [url for url in browser.requests() if not url.startswith(("data:", page.as_uri()))] == []


def test_a_page_is_dark_where_the_device_is(browser, page):
    browser.show(page, width=390, height=844, dark=False)
    assert (browser.value(GROUND), browser.value(INK)) == ("rgb(255, 255, 255)", "rgb(28, 28, 28)")
    browser.show(page, width=390, height=844, dark=True)
    assert (browser.value(GROUND), browser.value(INK)) == ("rgb(22, 24, 27)", "rgb(236, 236, 236)")


def test_letters_of_figures_are_readable_on_a_phone(browser, page):
    browser.show(page, width=390, height=844, dark=False)
    heights = browser.value(
        "[...document.querySelectorAll('figure > svg text')].filter(text => !text.getAttribute('transform'))"
        ".map(text => text.getBoundingClientRect().height)"
    )
    assert min(heights) > 10


def test_a_comparison_fits_on_a_phone_too(browser, run_folder, copied_run, tmp_path):
    write_comparison([str(run_folder), str(copied_run)], tmp_path / "compared.html")
    browser.complaints.clear()
    browser.show(tmp_path / "compared.html", width=390, height=844, dark=False)
    needed, there = browser.value(WIDTH)
    assert needed <= there and browser.complaints == []
