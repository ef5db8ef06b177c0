"""The report page: its text, and what it does in a real Chromium without a network."""

import json
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from importlib import util
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Locator, Page, expect, sync_playwright

from avbench.core.errors import AvbenchError
from avbench.reports.page import cells, render, scripts
from tests.reports import pages
from tests.reports.test_formats import HOSTILE

EVIL = (
    '</script><script>hacked=1</script><img src=x onerror="hacked=1">\'"><svg onload=hacked=1>'
    "<!-- ]]> {{ 7*7 }} ${hacked=1} \\u003cb\\u003e & &lt;"
)

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

LARGEST = 30_000_000
"""Bytes of a page with 50 trials × 300 clips."""

READY = 2.0
"""Seconds from the opening of that page until one can sort, filter and search."""

BUSY = 3.0
"""The tests' processes share two cores: the best of a few openings may take this many times as
long as the page does on a machine of its own."""

CHROMIUM = shutil.which("chromium")

in_browser = [
    pytest.mark.report,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class Scripts(HTMLParser):
    """Collects the scripts and the policy of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, str | None], str]] = []
        self.policy = ""
        self.tags: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.found.append((dict(attrs), ""))
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"] or ""
        self._inside = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            attributes, text = self.found[-1]
            self.found[-1] = (attributes, text + data)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Opened:
    """A page in Chromium, with all that it said and asked for."""

    def __init__(self, browser: Browser, file: Path, *, width: int = 1440, dark: bool = False):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            offline=True,
        )
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.said.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self.refuse)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def refuse(self, dialog: Dialog) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def table(self) -> Locator:
        return self.page.locator("#table-1")

    def expect_rows(self, *labels: str) -> None:
        """DataTables sorts once the click is over."""
        expect(self.table().locator("tbody th")).to_have_text(list(labels))

    def choose(self, name: str, label: str) -> None:
        self.page.locator(f"#filters [name={name}]").select_option(label=label)

    def clips(self) -> list[str]:
        return self.page.locator(".clip h3").all_text_contents()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "table.html"
    path.write_text(render.page(pages.page()), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Opened]:
    made = Opened(browser, file)
    yield made
    made.context.close()


# ------------------------------------------------------------------------ the text


def test_equal_contents_give_equal_pages() -> None:
    assert render.page(pages.page()) == render.page(pages.page())


def test_the_policy_allows_the_page_s_own_scripts_alone_and_no_connection() -> None:
    found = Scripts(render.page(pages.page()))
    (data, *code) = found.found
    assert data[0] == {"type": "application/json", "id": "data"}
    digests = [f"'sha256-{b64encode(sha256(t.encode()).digest()).decode()}'" for _, t in code]
    rules = dict(rule.strip().split(" ", 1) for rule in found.policy.split(";"))
    assert rules["script-src"].split() == digests
    assert len(digests) == 3
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == rules["media-src"] == "data:"
    assert "connect-src" not in rules


@pytest.mark.parametrize("text", [EVIL, *HOSTILE])
def test_no_text_leaves_its_place(text: str) -> None:
    plain, evil = Scripts(render.page(pages.page())), Scripts(render.page(pages.page(text=text)))
    own = [tag for tag in evil.tags if tag not in ("p", "dd")]
    assert own == [tag for tag in plain.tags if tag not in ("p", "dd")]
    data = json.loads(evil.found[0][1])
    shown = data["stages"]["g0"]["options"]
    assert shown == f"beam: 5\nnote: {render.visible(text, keep=chr(10))}"
    assert not re.search(r"[<>&\u2028\u2029\x1b\u202e]", evil.found[0][1])


def test_tables_alone_have_no_script() -> None:
    text = render.tables([pages.sheet(("one", "two"))])
    found = Scripts(text)
    assert found.found == []
    assert "script-src 'none'" in found.policy
    assert len(text) < 30_000


def test_a_page_without_plots_holds_no_plotting_library() -> None:
    with_plots, without = scripts.page_scripts(plots=True), scripts.page_scripts(plots=False)
    assert [script.module for script in with_plots] == [False, False, True]
    assert without == with_plots[-1:]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts.page_scripts.cache_clear()
    monkeypatch.setattr(scripts, "find_spec", lambda name: None)
    with pytest.raises(AvbenchError, match="itables is not installed, and the HTML report needs"):
        scripts.page_scripts(plots=True)


def test_the_report_s_own_script_has_fewer_than_300_lines() -> None:
    spec = util.find_spec("avbench.reports.page")
    assert spec is not None
    assert spec.origin is not None
    own = Path(spec.origin).with_name("page.js").read_text("utf-8").splitlines()
    assert len(own) < 300
    assert max(map(len, own)) < 180


def test_a_cell_s_hint_holds_its_interval_and_test() -> None:
    sheet = pages.sheet(("one", "two", "three"))
    assert cells.hint(sheet, 1, 0) == (
        "two, talk CIDEr: 20.5; mean of 2 seeds; standard deviation 0.707; 95 % interval 15 to "
        "26; difference +10; to one: p 0.004 after Holm's correction, significant; second"
    )
    assert cells.hint(sheet, 2, 4) == "three, Cost FLOPs (G): missing"
    assert (cells.sort_key(sheet, 1, 0), cells.sort_key(sheet, 2, 4)) == ("20.5", "")


# ------------------------------------------------------------------------ in Chromium


class TestInChromium:
    """What people see and do."""

    pytestmark = in_browser

    def test_a_page_opens_without_a_word_and_without_a_request(self, opened, file) -> None:
        opened.page.locator(".plot canvas").last.wait_for()
        opened.page.mouse.wheel(0, 100_000)
        opened.page.wait_for_timeout(300)
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [file.as_uri()]

    def test_hostile_texts_are_shown_and_do_nothing(self, browser, tmp_path) -> None:
        text = f"{EVIL} {' '.join(HOSTILE)}"
        file = tmp_path / "evil.html"
        file.write_text(render.page(pages.page(text=text)), encoding="utf-8")
        evil = Opened(browser, file)
        evil.table().locator("tbody button").first.click()
        evil.page.keyboard.press("Escape")
        evil.page.locator(".plot canvas").last.wait_for()
        for plot in evil.page.locator(".plot").all():
            plot.hover()
        evil.page.wait_for_timeout(500)
        assert evil.page.evaluate("typeof hacked") == "undefined"
        assert [said for said in evil.said if "hacked" in said or "dialog" in said] == []
        assert "<img src=x onerror=" in evil.page.locator("h1").text_content()
        assert "<img src=x onerror=" in evil.page.locator(".clip").first.text_content()
        evil.context.close()

    def test_a_column_sorts_by_its_figures_by_mouse_and_keyboard(self, opened) -> None:
        opened.expect_rows("one", "two", "three")
        head = opened.table().locator("thead tr:last-child th").nth(1)
        head.locator(".dt-column-order").click()
        opened.expect_rows("one", "two", "three")
        head.locator(".dt-column-order").focus()
        opened.page.keyboard.press("Enter")
        opened.expect_rows("three", "two", "one")  # 30, 20, 10: not by their first digits
        cost = opened.table().locator("thead tr:last-child th").nth(5)
        cost.locator(".dt-column-order").click()
        opened.expect_rows("one", "two", "three")  # three has no cost
        cost.locator(".dt-column-order").click()
        opened.expect_rows("two", "one", "three")

    def test_a_filter_leaves_the_rows_that_match(self, opened) -> None:
        opened.page.get_by_label("Filter rows of Scores").fill("thr")
        opened.expect_rows("three")
        opened.page.get_by_label("Filter rows of Scores").fill("")
        opened.expect_rows("one", "two", "three")

    def test_row_labels_stay_in_view_as_a_table_scrolls(self, browser, file) -> None:
        narrow = Opened(browser, file, width=380)
        label = narrow.table().locator("tbody th").first
        before = label.bounding_box()
        narrow.page.locator(".scroll").filter(has=narrow.table()).evaluate(
            "e => e.scrollLeft = 200"
        )
        assert label.bounding_box() == before
        narrow.context.close()

    def test_a_cell_s_hint_comes_by_mouse_and_by_keyboard(self, opened) -> None:
        cell = opened.table().locator("tbody tr").nth(1).locator("button").first
        hint = opened.page.locator("#hint")
        assert hint.is_hidden()
        cell.hover()
        assert "95 % interval 15 to 26" in hint.text_content()
        opened.page.mouse.move(0, 0)
        assert hint.is_hidden()
        cell.focus()
        assert "p 0.004 after Holm's correction, significant" in hint.text_content()
        assert cell.get_attribute("aria-describedby") == "hint"

    def test_a_cell_opens_its_stages_command_log_and_captions(self, opened) -> None:
        opened.table().locator("tbody tr").nth(1).locator("button").first.focus()
        opened.page.keyboard.press("Enter")
        dialog = opened.page.locator("#origin")
        assert dialog.is_visible()
        assert dialog.locator("h2").text_content() == "two, talk, cider"
        shown = dialog.text_content()
        for part in (
            "avbench run s --only 'two'", "Seed 0: 20", "Seed 1: 21", "Signature cider|clips:9",
            "score: score-s1, done", "generate: generate-g1, done", "c0ffee", "beam: 5", "scored",
        ):  # fmt: skip
            assert part in shown
        dialog.get_by_role("button", name="Show its captions").click()
        assert dialog.is_hidden()
        assert {heading.split(":")[0] for heading in opened.clips()} == {"talk"}
        assert set(opened.page.locator(".clip dt").all_text_contents()[0].split(" · ")) == {
            "two", "CIDEr 1.0",
        }  # fmt: skip

    def test_words_that_no_reference_has_are_marked(self, opened) -> None:
        first = opened.page.locator(".clip").first.locator("dd").first
        assert first.text_content() == "the red zebra runs"
        assert first.locator("mark").all_text_contents() == ["zebra"]

    def test_clips_are_chosen_by_set_row_streams_score_and_word(self, opened) -> None:
        assert len(opened.clips()) == 8
        opened.choose("set", "sound")
        assert opened.clips() == [
            "sound: clip 1",
            "sound: clip 3",
            "sound: clip 5",
            "sound: clip 7",
        ]
        opened.choose("a", "two")
        opened.page.locator("#filters [name=least]").fill("31")
        assert opened.clips() == ["sound: clip 3", "sound: clip 5", "sound: clip 7"]
        opened.page.locator("#filters [name=most]").fill("51")
        assert opened.clips() == ["sound: clip 3", "sound: clip 5"]
        opened.choose("altered", "also video zeroed")
        names = opened.page.locator(".clip").first.locator("dt").all_text_contents()
        assert [name.split(" · ")[0] for name in names] == ["two", "two – video zeroed"]
        opened.page.locator("#filters [name=word]").fill("CLIP 5")
        assert opened.clips() == ["sound: clip 5"]
        assert opened.page.locator("#shown").text_content().startswith("1 of 1 chosen clips")

    def test_clips_are_ordered_by_score_and_by_disagreement(self, opened) -> None:
        opened.choose("order", "highest CIDEr")
        assert [name[-1] for name in opened.clips()] == list("76543210")
        opened.choose("a", "one")
        opened.choose("b", "two")
        opened.choose("order", "A and B differ most")
        pairs = [
            [set(text.split()) for text in card.locator("dd").all_text_contents()]
            for card in opened.page.locator(".clip").all()
        ]
        shares = [len(a ^ b) / len(a | b) for a, b in pairs]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > shares[-1]

    def test_plots_are_drawn_and_follow_the_colour_scheme(self, opened) -> None:
        for plot in opened.page.locator(".plot").all():
            plot.scroll_into_view_if_needed()
            plot.locator("canvas").first.wait_for()
        light = opened.page.locator(".plot").first.screenshot()
        opened.page.emulate_media(color_scheme="dark")
        opened.page.wait_for_timeout(500)
        assert opened.page.locator(".plot").first.screenshot() != light
        assert opened.said == []

    def test_a_picture_is_an_image_that_runs_nothing(self, opened) -> None:
        picture = opened.page.get_by_alt_text("A picture")
        assert picture.get_attribute("src").startswith("data:image/svg+xml;base64,")
        assert opened.page.evaluate("typeof hacked") == "undefined"

    @pytest.mark.parametrize(("width", "dark"), [(380, True), (1440, False), (1440, True)])
    def test_axe_finds_nothing_serious(self, browser, file, width: int, dark: bool) -> None:
        made = Opened(browser, file, width=width, dark=dark)
        for each in made.page.locator("main details").all():
            each.evaluate("each => each.open = true")
        for plot in made.page.locator(".plot").all():
            plot.scroll_into_view_if_needed()
        assert serious(made.page) == []
        made.table().locator("tbody button").first.click()
        assert serious(made.page) == []
        made.context.close()

    def test_a_narrow_page_scrolls_down_alone(self, browser, file) -> None:
        made = Opened(browser, file, width=380)
        for each in made.page.locator("main details").all():
            each.evaluate("each => each.open = true")
        assert made.page.evaluate("document.documentElement.scrollWidth") <= 380
        made.context.close()

    def test_print_shows_folded_tables_and_no_controls(self, opened) -> None:
        opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        opened.page.emulate_media(media="print")
        assert opened.page.locator("#filters").is_hidden()
        assert opened.page.locator("nav").is_hidden()
        assert opened.page.locator("#table-2").is_visible()
        assert opened.page.pdf()[:5] == b"%PDF-"

    def test_fifty_trials_of_three_hundred_clips_are_small_and_soon_ready(
        self, browser, tmp_path
    ) -> None:
        labels = [f"trial {i}" for i in range(50)]
        media = {"strip": pages.noise(15_000), "sound": pages.noise(30_000)}
        text = render.page(pages.page(labels, clips=300, **media))
        assert len(text.encode()) < LARGEST
        file = tmp_path / "large.html"
        file.write_text(text, encoding="utf-8")
        times = []
        for _ in range(3):
            made = Opened(browser, file)
            times.append(int(made.page.locator("html").get_attribute("data-ready")) / 1000)
            expect(made.table().locator("tbody tr")).to_have_count(50)
            assert len(made.clips()) == 12
            made.context.close()
        print(f"{len(text) / 1e6:.1f} MB, ready after {min(times):.2f} s")
        assert min(times) < READY * BUSY


def serious(page: Page) -> list[str]:
    """What axe-core finds that bars people, with the elements."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
