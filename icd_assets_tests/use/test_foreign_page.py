"""A page of another origin, in a real browser, asks ``icd-assets serve`` in every way: nothing is answered."""

from __future__ import annotations

import json
import urllib.request

import pytest

from icd_assets.use.guard import Guard
from icd_assets_tests.defs.webserver.test_foreign_page import Page
from icd_assets_tests.worlds.chromium import chromium, needs_chromium
from icd_assets_tests.worlds.served_app import Handled, served_app

pytestmark = [pytest.mark.slow, pytest.mark.browser]

# What the page could read of the answers: nothing, or the refusal where it is of the same origin.
ATTACK = """async there => {
  const read = [], body = JSON.stringify({question: 'x', image: ''});
  const add = (tag, values) => document.body.appendChild(Object.assign(document.createElement(tag), values));
  for (const path of ['/', '/select', '/health', '/openapi.json']) {
    for (const tag of ['img', 'script', 'iframe']) add(tag, {src: there + path});
    for (const enctype of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      add('iframe', {name: 'f' + document.forms.length});
      const form = add('form', {action: there + path, method: 'post', enctype,
                                target: 'f' + document.forms.length});
      form.appendChild(Object.assign(document.createElement('input'), {name: '{"question": "x', value: '"}'}));
      form.submit();
    }
    navigator.sendBeacon(there + path, body);
    for (const mode of ['cors', 'no-cors', 'same-origin'])
      for (const method of ['GET', 'POST', 'PUT', 'HEAD'])
        for (const type of ['text/plain', 'application/json'])
          await fetch(there + path, {method, mode, headers: {'Content-Type': type},
                                     body: ['GET', 'HEAD'].includes(method) ? undefined : body})
            .then(answer => answer.text()).then(text => text && read.push(text)).catch(() => 0);
  }
  await new Promise(done => {
    const socket = new WebSocket(there.replace('http', 'ws') + '/select');
    socket.onopen = () => read.push('websocket');
    socket.onclose = done;
    setTimeout(done, 3000);
  });
  await new Promise(done => setTimeout(done, 1000));
  return read;
}"""


@needs_chromium
def test_a_page_of_another_origin_is_not_answered() -> None:
    handled = Handled()
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    guarded = Guard(handled.app(), names=frozenset(), token=None)
    with served_app(guarded) as port, Page() as page_server, chromium(rules) as browser:
        here = f"http://127.0.0.1:{port}"
        page = browser.new_page()
        for host in ("127.0.0.1", "localhost", "evil.example"):
            page.goto(f"http://{host}:{page_server.port}/")
            assert page.evaluate(ATTACK, here) == []
        rebound = f"http://evil.example:{port}"
        answer = page.goto(rebound)
        assert answer is not None and answer.status == 400
        read = page.evaluate(ATTACK, rebound)
        assert read and all("evil.example" in text for text in read), "the refusal, and nothing else"
        assert handled.requests == []
        body = json.dumps({"question": "x"}).encode()
        asked = urllib.request.Request(f"{here}/select", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=10) as own:
            assert own.status == 200
        assert handled.requests == ["POST /select"], "a program of the user's is answered"
