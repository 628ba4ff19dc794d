import pytest

from controller.dpi.http import add_field, canonical_path, check_name, target_of
from controller.dpi.message import Malformed


def test_paths_that_mean_the_same_are_the_same() -> None:
    assert canonical_path(b"/%6fpen/%7euser/a%2fb%zz") == "/open/~user/a%2Fb%zz"
    assert canonical_path("/küche/{x}".encode()) == "/k%C3%BCche/%7Bx%7D"


def test_four_forms_of_a_target() -> None:
    assert target_of("GET", b"/a?b=c") == (None, "/a", b"b=c")
    assert target_of("GET", b"http://h:1/a?b") == (b"h:1", "/a", b"b")
    assert target_of("CONNECT", b"h:1") == (b"h:1", "h:1", None)
    assert target_of("OPTIONS", b"*") == (None, "*", None)
    with pytest.raises(Malformed):
        target_of("GET", b"ftp://h/")


def test_fields_that_repeat_are_joined_unless_servers_could_choose() -> None:
    fields: dict[bytes, bytes] = {}
    for value in (b"a", b"b"):
        add_field(fields, b"accept", value)
    assert fields == {b"accept": b"a, b"}
    add_field(fields, b"host", b"x")
    add_field(fields, b"host", b"x")
    with pytest.raises(Malformed):
        add_field(fields, b"host", b"y")


@pytest.mark.parametrize(
    "name",
    [b"content_length", b"x-http-method-override", b"x_http_method", b"x-original-url", b"x-rewrite-url"],
)
def test_names_that_servers_may_heed_are_malformed(name: bytes) -> None:
    check_name(b"content-length")
    with pytest.raises(Malformed):
        check_name(name)


def test_targets_are_bounded() -> None:
    target_of("GET", b"/" + b"a" * 8000)
    with pytest.raises(Malformed):
        target_of("GET", b"/" + b"a" * 9000)
