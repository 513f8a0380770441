"""The target's own page in headless Chromium, with a WAV file as its microphone."""

import contextlib
import os
import shutil
import time
import wave
from pathlib import Path

import pytest

BROWSER, DRIVER = "chromium", "chromedriver"
RATE = 48_000


def write_wav(path, samples):
    """Write int16 mono samples at RATE."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())


@contextlib.contextmanager
def browser(tmp_path, microphone_wav):
    """Yield a selenium driver; skip when Chromium or its driver is not installed."""
    paths = [shutil.which(name) for name in (BROWSER, DRIVER)]
    if None in paths:
        pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
    # Selenium's own manager would look drivers up online and report statistics.
    os.environ["SE_OFFLINE"] = os.environ["SE_AVOID_STATS"] = "true"
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    profile = Path(tmp_path) / "profile"
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        # No name is looked up: whatever Chromium wants beyond this host fails at once.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--no-proxy-server",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone_wav}%noloop",
        "--allow-loopback-in-peer-connection",
        "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=paths[1]))
    try:
        driver.set_page_load_timeout(30)
        yield driver
    finally:
        driver.quit()


def seen(driver):
    """Return the page's own account: `window.callquake`."""
    return driver.execute_script("return JSON.parse(JSON.stringify(window.callquake))")


def wait_for(driver, condition, what, seconds=60):
    """Poll the page until `condition(account)` holds; return the account."""
    end = time.monotonic() + seconds
    while True:
        account = seen(driver)
        if condition(account):
            return account
        assert time.monotonic() < end, f"never {what}: {account}, console: {driver.get_log('browser')}"
        time.sleep(0.2)
