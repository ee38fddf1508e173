"""The twenty releases and the words for them."""

import pytest

from kilonova.config.releases import NEWEST, OLDEST, RELEASES, find, releases_between


def test_twenty_releases_in_order():
    assert [r.nova for r in RELEASES] == list(range(15, 35))
    assert list(RELEASES) == sorted(RELEASES)
    assert (OLDEST.name, NEWEST.name) == ("ocata", "hibiscus")


@pytest.mark.parametrize(
    ("word", "nova"),
    [
        ("ocata", 15),
        ("Zed", 26),
        ("2023.1", 27),
        ("antelope", 27),
        ("epoxy", 31),
        ("2025.1", 31),
        (2025.1, 31),
        ("2025.1 Epoxy", 31),
        (" EPOXY ", 31),
        ("flamingo", 32),
        ("gazpacho", 33),
        ("2026.2", 34),
        ("34", 34),
        (34, 34),
        (RELEASES[3], 18),
    ],
)
def test_every_word_for_a_release_finds_it(word, nova):
    assert find(word).nova == nova


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_a_release_is_found_by_all_its_words(release):
    words = [release.name, release.nova, str(release.nova), release.title, release.name.upper()]
    assert {find(w) for w in words + [release.number] * bool(release.number)} == {release}


def test_an_unknown_release_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown release 'epxy' \(nearest: epoxy.*2026.2 Hibiscus"):
        find("epxy")


@pytest.mark.parametrize("word", ["", "newton", "14", "35", "2022.1", "zed yoga", None, True, "\n"])
def test_what_is_no_release_is_refused(word):
    with pytest.raises(ValueError, match="unknown release"):
        find(word)


def test_releases_compare_by_age():
    assert find("zed") < find("2023.1") <= find("antelope")
    assert max(RELEASES) is NEWEST


def test_between_includes_both_ends():
    assert [r.name for r in releases_between("yoga", "2023.1")] == ["yoga", "zed", "antelope"]
    assert releases_between("zed", "yoga") == ()
