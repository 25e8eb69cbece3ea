"""The pages of the labs: who may come in, and what a real process does."""

import gc
import http.client
import json
import re
import signal
import socket
import time
import weakref

import pytest
from playwright.sync_api import expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from browsers import Watched
from twofold.errors import RunError
from twofold.labs import host
from twofold.labs.arrays import from_bytes, to_bytes
from twofold.labs.host import Host
from twofold.labs.ideas_zh import IDEAS_ZH
from twofold.labs.session import Session
from twofold.labs.table import LABS
from twofold.proof.ideas import IDEAS


def ask(host: Host, path: str, /, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=10)
    connection.putrequest("GET", path, skip_host="host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return answer


def cookie(host: Host) -> str:
    status, headers, _ = ask(host, f"/?token={host.token}")
    assert status == 303
    return headers["set-cookie"].partition(";")[0]


def test_without_the_token_nothing_is_answered_but_the_question_for_it(lab_host: Host):
    for path in ("/", "/labs.json", "/lab/convolution", "/lab/convolution.js", "/page/kit.css", "/?token=wrong"):
        status, _, body = ask(lab_host, path)
        assert status == 403
        assert b"Open the address" in body
        assert lab_host.token.encode() not in body
    assert ask(lab_host, "/", cookie="twofold-lab-1=x; broken;;=")[0] == 403
    assert ask(lab_host, "/", cookie=f"twofold-lab-{lab_host.port}=\xe9")[0] == 403
    status, headers, _ = ask(lab_host, f"/lab/convolution?lang=zh&token={lab_host.token}")
    assert (status, headers["location"]) == (303, "/lab/convolution?lang=zh")
    assert "HttpOnly" in headers["set-cookie"]
    assert "samesite=lax" in headers["set-cookie"].lower()
    # Not to another host.
    _, headers, _ = ask(lab_host, f"//evil.example/x?token={lab_host.token}")
    assert headers["location"].startswith("/evil.example")


@pytest.mark.parametrize("other", ["theme=dark mode", 'prefs={"a": 1}', "flag", "name=\xe9", "a=b=c", ";;", 'q="'])
def test_cookies_of_other_programs_on_this_machine_do_no_harm(lab_host: Host, other: str):
    mine = cookie(lab_host)
    for cookies in (f"{other}; {mine}", f"{mine}; {other}"):
        assert ask(lab_host, "/labs.json", cookie=cookies)[0] == 200
    assert ask(lab_host, "/labs.json", cookie=other)[0] == 403


def test_with_the_token_pages_are_there_and_nothing_else_is(lab_host: Host):
    mine = cookie(lab_host)
    for path, kind in (("/", "text/html"), ("/lab/convolution", "text/html"), ("/page/kit.css", "text/css")):
        status, headers, _ = ask(lab_host, path, cookie=mine)
        assert status == 200
        assert headers["content-type"].startswith(kind)
        assert "default-src 'self'" in headers["content-security-policy"]
    assert [each["name"] for each in json.loads(ask(lab_host, "/labs.json", cookie=mine)[2])] == list(LABS)
    for path in ("/lab/nothing", "/lab/nothing.js", "/page/../host.py", "/page/%2e%2e/host.py", "/page//etc/passwd"):
        assert ask(lab_host, path, cookie=mine)[0] == 404


def test_other_hosts_and_origins_are_refused(lab_host: Host):
    mine, port = cookie(lab_host), lab_host.port
    assert ask(lab_host, "/", cookie=mine, host="evil.example")[0] == 403
    assert ask(lab_host, "/", cookie=mine, host=f"localhost:{port}")[0] == 200
    assert ask(lab_host, "/", cookie=mine, origin="http://evil.example")[0] == 403
    assert ask(lab_host, "/", cookie=mine, origin="null")[0] == 403
    assert ask(lab_host, "/", cookie=mine, origin=f"http://127.0.0.1:{port}")[0] == 200


def test_a_socket_needs_all_of_it(lab_host: Host):
    mine, port = cookie(lab_host), lab_host.port
    own = f"http://127.0.0.1:{port}"
    address = f"ws://127.0.0.1:{port}/socket/convolution"
    for origin, headers in (
        (None, {"Cookie": mine}),
        ("http://evil.example", {"Cookie": mine}),
        (own, {}),
        (own, {"Cookie": mine.split("=")[0] + "=wrong"}),
    ):
        with pytest.raises(InvalidStatus), connect(address, origin=origin, additional_headers=headers):
            pass
    with (
        pytest.raises(InvalidStatus),
        connect(address.replace("convolution", "no"), origin=own, additional_headers={"Cookie": mine}),
    ):
        pass
    with connect(address, origin=own, additional_headers={"Cookie": mine}) as peer:
        about, _ = from_bytes(peer.recv(30))
        assert about["name"] == "convolution"
        peer.send(to_bytes({"kind": "show", "number": 1, "settings": {"image": "/etc/passwd"}}, []))
        assert from_bytes(peer.recv(30))[0]["error"].startswith("there is no image '/etc/passwd' here")
        peer.send(b"\xff\xff\xff\xff")
        with pytest.raises(Exception, match="1003"):
            peer.recv(30)


def test_a_page_that_is_closed_before_its_lab_is_made_is_no_fault(monkeypatch):
    faults, ended = [], []
    make, close = Session.__init__, Session.close

    def make_slowly(*arguments, **options):
        # The page is closed meanwhile: what is sent to it next says so.
        time.sleep(0.3)
        make(*arguments, **options)

    def end(session):
        close(session)
        ended.append(session)

    monkeypatch.setattr(Session, "__init__", make_slowly)
    monkeypatch.setattr(Session, "close", end)
    with Host(tell=faults.append) as host:
        own, mine = f"127.0.0.1:{host.port}", {"Cookie": cookie(host)}
        with connect(f"ws://{own}/socket/shapes", origin=f"http://{own}", additional_headers=mine):
            pass
        deadline = time.monotonic() + 20
        while not ended:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert faults == []


@pytest.mark.parametrize("lab", LABS)
def test_what_a_page_has_used_is_free_when_memory_is_given_back(lab, monkeypatch):
    labs, freed = [], []
    begin = Session.begin

    def begin_and_note(session):
        labs.append(weakref.ref(session.lab))
        begin(session)

    monkeypatch.setattr(Session, "begin", begin_and_note)
    monkeypatch.setattr(host, "give_back", lambda: freed.append(labs[-1]() is None))
    gc.disable()  # what refers to itself would be found by chance
    try:
        with Host() as running:
            own, mine = f"127.0.0.1:{running.port}", {"Cookie": cookie(running)}
            # Once in a while the thread that has answered last is not done with its work when the page is.
            while True not in freed and len(freed) < 3:
                num_pages = len(freed)
                address = f"ws://{own}/socket/{lab}"
                with connect(address, origin=f"http://{own}", additional_headers=mine, max_size=None) as socket:
                    assert from_bytes(socket.recv())[0]["kind"] == "about"
                    socket.send(to_bytes({"kind": "show", "settings": {}, "number": 1}, []))
                    assert from_bytes(socket.recv())[0]["kind"] in ("shown", "told")
                deadline = time.monotonic() + 60
                while len(freed) == num_pages:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
    finally:
        gc.enable()
    assert freed[-1]


def test_a_port_that_is_taken():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(RunError, match="--port 0 takes one that is free"),
    ):
        Host(port=taken.getsockname()[1])


def test_the_gallery_leads_to_every_lab_in_both_languages(browser, lab_host: Host):
    for lang, word in (("en-GB", "Labs"), ("zh-CN", "实验")):
        page = browser.new_context(locale=lang, viewport={"width": 390, "height": 800}).new_page()
        watched = Watched(page)
        page.goto(lab_host.address())
        expect(page.locator("#labs li")).to_have_count(len(LABS))
        assert page.locator("h1").inner_text() == word
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.wait_for_function("() => [...document.images].every((image) => image.naturalWidth > 0)")
        page.get_by_role(
            "link", name=LABS["convolution"].title if lang == "en-GB" else LABS["convolution"].title_zh
        ).first.click()
        page.wait_for_selector(".lab[data-answered]")
        page.locator("#language").click()
        page.wait_for_selector(".lab[data-answered]")
        there = LABS["convolution"].title_zh if lang == "en-GB" else LABS["convolution"].title
        assert page.locator("h1").inner_text() == there
        page.locator("[role=tab][data-part=formula]").click()
        signs = IDEAS_ZH["conv2d"].where if lang == "en-GB" else IDEAS["conv2d"].where
        expect(page.get_by_text(signs)).to_be_visible()
        watched.assert_quiet()
        page.context.close()


def test_a_page_comes_back_when_the_labs_do(browser):
    first = Host(token="same")
    with first:
        page = browser.new_page()
        page.goto(first.address("convolution", "stride=2"))
        page.wait_for_selector(".lab[data-answered]")
        page.evaluate("() => { window.isOfTheFirst = true; }")
    expect(page.locator("#lost")).to_be_visible()
    with Host(port=first.port, token="same"):
        # The page loads itself again; until then, the first one's answer is still there.
        page.wait_for_function("() => !window.isOfTheFirst && document.querySelector('.lab[data-answered]')")
        expect(page.locator("#lost")).to_be_hidden()
        assert page.evaluate("() => document.querySelector('.lab').page.settings.stride") == [2, 2]
    page.close()


def test_the_command_says_where_opens_within_seconds_and_ends_with_ctrl_c(twofold_command):
    start = time.monotonic()
    with twofold_command.start("lab", "--no-browser", "--port", "0") as process:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{24}", address)
        port = int(address.split(":")[2].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", f"/?{address.partition('?')[2]}")
        assert connection.getresponse().status == 303
        connection.close()
        assert time.monotonic() - start < 60
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()


def test_an_answer_is_drawn_by_the_settings_that_it_was_computed_for(lab_page):
    lab = lab_page("boxes")
    lab.page.evaluate("""() => {
      const page = document.querySelector(".lab").page, { send } = page.model, { drawAnswer } = page;
      Object.assign(window, { sent: [], drawn: [] });
      page.model.send = function (content, ...rest) {
        sent.push(content.settings.view);
        return send.call(this, content, ...rest);
      };
      page.drawAnswer = (shown, settings) => { drawn.push(settings.view); drawAnswer(shown, settings); };
      for (const view of ["anchors", "matching", "suppression"]) page.set({ view });
    }""")
    lab.settle()
    sent, drawn = lab.page.evaluate("() => [sent, drawn]")
    # While the first is computed the others are set; of those only the last is asked.
    assert list(dict.fromkeys(drawn)) == ["anchors", "suppression"]
    assert list(dict.fromkeys(sent)) == ["anchors", "suppression"]


def test_an_error_is_asked_for_once_also_with_the_code_beside(lab_page):
    lab = lab_page("shapes")
    lab.page.get_by_role("tab", name="Code").click()
    lab.settle()
    lab.page.evaluate("""() => {
      const { model } = document.querySelector(".lab").page, { send } = model;
      window.numSent = 0;
      model.send = function (...rest) { window.numSent++; return send.apply(this, rest); };
      document.querySelector(".lab").page.set({ expression: "a +" });
    }""")
    lab.page.wait_for_selector(".status:not([hidden])")
    lab.page.wait_for_timeout(1000)
    assert lab.page.evaluate("numSent") == 1


def test_a_file_that_is_too_large_is_not_sent(lab_page):
    lab = lab_page("convolution")
    lab.page.evaluate("""() => {
      const { page } = document.querySelector(".lab");
      page.about.most_bytes = 10e6;
      page.open(new File([new Uint8Array(10e6 + 1)], "large.tif"));
    }""")
    assert lab.error == "large.tif has more than 10 MB."
    assert lab.page.evaluate("document.querySelector('.lab').page.waiting") is None


@pytest.mark.parametrize(
    ("lab", "before", "after"),
    [
        ("boxes", {"view": "iou"}, {"view": "anchors"}),
        ("boxes", {"view": "suppression"}, {"view": "matching"}),
        ("boxes", {"view": "matching"}, {"view": "suppression"}),
        ("receptive-field", {"view": "network"}, {"view": "stack"}),
        ("receptive-field", {"view": "stack"}, {"view": "network"}),
    ],
)
def test_a_hand_that_is_faster_than_the_answer_is_no_fault(lab_page, lab, before, after):
    page = lab_page(lab, "&".join(f"{name}={value}" for name, value in before.items()))
    page.page.evaluate(
        """(after) => {
          const page = document.querySelector(".lab").page;
          page.set(after);
          const seen = (kind) => [...page.stage.querySelectorAll(kind)].filter((each) => each.checkVisibility());
          for (const button of seen("button")) button.click();
          for (const canvas of seen("canvas")) {
            const { left, top, width, height } = canvas.getBoundingClientRect();
            const place = { clientX: left + width / 2, clientY: top + height / 2, bubbles: true, pointerId: 1 };
            canvas.setPointerCapture = () => {};
            const kinds = ["pointermove", "pointerdown", "pointerup"];
            for (const kind of kinds) canvas.dispatchEvent(new PointerEvent(kind, place));
            for (const key of ["ArrowRight", "ArrowDown"]) canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
          }
        }""",
        after,
    )
    page.settle()
