"""What counts as personal data and what only looks like it. Numbers are published test numbers or made up."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minimind.cleaning.database import connect
from minimind.cleaning.detectors import KINDS
from minimind.cleaning.personal_data import find, mask, mask_lines


def found(text: str, kind: str, region: str | None = "US") -> list[str]:
    return [text[hit.start_char : hit.end_char] for hit in find(text, region, [kind])]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Write to jane.doe+law@example.co.uk.", "jane.doe+law@example.co.uk"),
        ("<o'neil@example.org>", "o'neil@example.org"),
        ("mailto:a_b@sub.example.museum?subject=x", "a_b@sub.example.museum"),
        ("Grüße an jürgen@bücher.de!", "jürgen@bücher.de"),
        ("dpo [at] example [dot] com", "dpo [at] example [dot] com"),
        ("dpo(at)example.com", "dpo(at)example.com"),
        ("Author: Jane Doe <jane at example.org>", "jane at example.org"),
    ],
)
def test_email_addresses_are_found(text, address):
    assert found(text, "email") == [address]


@pytest.mark.parametrize(
    "text",
    [
        "git clone git@example.com:team/project.git",
        "https://jane@example.com/inbox",
        "ssh://git@example.com:22/x",
        "@dataclass and x = a @ b.T, matmul(a@b)",
        "Excite@Home",
        "look at example.org and <code object at 0x7f.example>",
        "user@localhost",
    ],
)
def test_what_only_looks_like_an_email_address_is_left(text):
    assert found(text, "email") == []


@pytest.mark.parametrize(
    "number",
    [
        "DE89 3704 0044 0532 0130 00",
        "DE89370400440532013000",
        "GB29 NWBK 6016 1331 9268 19",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO93 8601 1117 947",
        "CH93\u00a00076\u00a02011\u00a06238\u00a05295\u00a07",
    ],
)
def test_ibans_of_the_registry_are_found(number):
    assert found(f"IBAN: {number} BIC COBADEFFXXX", "iban") == [number]


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 01",  # checksum
        "DE89 3704 0044 0532 0130",  # too short
        "XX89 3704 0044 0532 0130 00",  # no country
        "ZL200480039516 EP2736977",  # patents
        "ADE89370400440532013000",
    ],
)
def test_what_only_looks_like_an_iban_is_left(text):
    assert found(text, "iban") == []


@pytest.mark.parametrize(
    "number",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "6011111111111117",
        "3530111333300000",
        "30569309025904",
        "3056 930902 5904",
    ],
)
def test_test_numbers_of_card_issuers_are_found(number):
    assert found(f"card {number}, expires", "card") == [number]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # checksum
        "1111 1111 1111 1117",  # no issuer
        "41 11111 1111 11111 1",  # grouped like no card
        "https://doi.org/10.1177/4111111111111111",
        "0.4111111111111111",
        "20050327013919",  # a time stamp with a right checksum
        "978-1-4614-3987-5",  # ISBN
        "2015-2016-2017-2018",
    ],
)
def test_what_only_looks_like_a_card_is_left(text):
    assert found(text, "card") == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("His number is 123-45-6789.", "123-45-6789"),
        ("SSN: 536 22 1234", "536 22 1234"),
        ("Social Security Number 536221234", "536221234"),
    ],
)
def test_social_security_numbers_are_found(text, number):
    assert found(text, "ssn") == [number]


@pytest.mark.parametrize(
    "text",
    [
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-00-4567",
        "123-45-0000",
        "078-05-1120",  # of an advertisement, never valid since
        "536 22 1234",
        "docket 24-678 24-1070, 123-45-6789-0, A123-45-6789",
        "§123-45-6789",
    ],
)
def test_what_is_no_social_security_number_is_left(text):
    assert found(text, "ssn") == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("It answered from 192.168.1.20.", "192.168.1.20"),
        ("http://203.0.113.7:8080/x", "203.0.113.7"),
        ("ping 8.8.8.8", "8.8.8.8"),
        ("the host 10.2.1.4 is", "10.2.1.4"),
        ("192.0.2.17/24", "192.0.2.17"),
        ("see 2001:db8::8a2e:370:7334 there", "2001:db8::8a2e:370:7334"),
        ("[2001:0db8:0000:0000:0000:ff00:0042:8329]", "2001:0db8:0000:0000:0000:ff00:0042:8329"),
    ],
)
def test_ip_addresses_are_found(text, address):
    assert found(text, "ip") == [address]


@pytest.mark.parametrize(
    "text",
    [
        "7.5.2.1",
        "Section 10.2.1.4",
        "Section 10.2.1.104",
        "§ 3.120.1.2",
        "version 1.2.3.4",
        "v192.168.1.20",
        "x == 1.2.3.104",
        "Abschnitt 12.100.3.1",
        "1.2.3.4.200",
        "256.100.1.1",
        "10.09.136.03",  # leading zero: a regulation
        "127.0.0.1 and 0.0.0.0 and 255.255.255.0 and 224.0.0.251",
        "192.0.2.0/24",
        "::1, fe80::1, std::vector, the year 2262::",
        "de:ad:be:ef:00:01",
        "10:30:00",
    ],
)
def test_sections_versions_and_nobodys_addresses_are_left(text):
    assert found(text, "ip") == []


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("(202) 555-0143", "US", "(202) 555-0143"),
        ("at 202–555–0143 or", "US", "202–555–0143"),
        ("202.555.0143", "CA", "202.555.0143"),
        ("1-800-555-0199", "US", "1-800-555-0199"),
        ("TTY-1-866-555-0143", "US", "1-866-555-0143"),
        ("call 2025550143 now", "US", "2025550143"),
        ("Fax: 416 555 0199", "US", "416 555 0199"),
        ("+44 20 7946 0958", None, "+44 20 7946 0958"),
        ("+49 (0)30 901820", None, "+49 (0)30 901820"),
        ("Fax: + 1 202 555 0143", None, "+ 1 202 555 0143"),
        ("+41 44 668 18 00 (24 hours", None, "+41 44 668 18 00"),
        ("Tel. 030/901820", "DE", "030/901820"),
        ("Telefon: (030) 9018-20", "DE", "(030) 9018-20"),
        ("Fax No.: 0049 30 901820", "US", "0049 30 901820"),
    ],
)
def test_phone_numbers_are_found(text, region, number):
    assert found(text, "phone", region) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "Washington, DC 20590-0001",
        "42 U.S.C. 12112, 87 Stat. 813",
        "Clause 252.227-7013",
        "Clause 252.227.7013",
        "Docket No. 202-555-0143",
        "2018-05-10 and 2017–09–29",
        "ISBN 0-306-40615-2, ISSN 2049-3630, 978-0-306-40615-7",
        "RFC 7230, form 1040-ES, No. 123-456-7890",
        "OMB Control No. 1902-0170",
        "telephone under § 1005.31(e)(2)",
        "Cell, 184(8): 1990-2019",
        "a sum of 120 + 30 1234567",
        "1E+999999999",
        "5202-555-0143",
        "202-555-01431",
        "202 555 0143",
    ],
)
def test_other_numbers_are_no_phone_numbers(text):
    assert found(text, "phone", "US") == []


def test_without_a_region_only_country_codes_make_a_phone_number():
    assert found("Tel. 030/901820, (202) 555-0143, +49 30 901820", "phone", None) == ["+49 30 901820"]


@pytest.mark.parametrize("blanks", range(1, 29))
def test_word_that_begins_far_before_an_address_is_seen_whole(blanks):
    assert found("Their flagship" + " " * blanks + "12.34.56.78", "ip") == []
    assert found("Their flag: ip" + " " * blanks + "12.34.56.78", "ip") == ["12.34.56.78"]


@pytest.mark.parametrize("digits", [1, 39, 40, 41, 60])
def test_rest_of_a_long_number_is_no_phone_number(digits):
    assert found("7" * digits + "-202-555-0143", "phone") == []


def test_the_earlier_kind_stays_where_two_overlap():
    text = "call 4111 1111 1111 1111 or 5551234567890@example.com"
    assert [hit.kind for hit in find(text, "US")] == ["card", "email"]


def test_what_stands_in_another_line_decides_nothing():
    assert found("Telephone\n2025550143", "phone") == []
    assert found("Section\n10.2.1.104", "ip") == ["10.2.1.104"]
    assert found("1-\n202.555.0143", "phone") == ["202.555.0143"]


PIECES = [
    "jane@example.com", "dpo [at] example [dot] com", "<a at b.org>", "DE89 3704 0044 0532 0130 00",
    "4111 1111 1111 1111", "123-45-6789", "SSN ", "536 22 1234", "Section ", "10.2.1.104", "ip ", "8.8.8.8",
    "2001:db8::1", "Tel. ", "030/901820", "+49 30 901820", "(202) 555-0143", "2025550143", "202.555.0143", "<phone>",
    "<ip>", "@", "+", "://", "-", "/", ",", ".", " ", "\n", "1", "00", "é", "𝔘", "👩🏽‍⚖️", "ß", "\u00a0",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=14).map("".join)
REGIONS = st.sampled_from(["US", "DE", None])


@settings(deadline=None)
@given(TEXTS, REGIONS)
def test_hits_are_in_order_and_do_not_overlap(text, region):
    hits = find(text, region)
    assert all(0 <= hit.start_char < hit.end_char <= len(text) for hit in hits)
    assert all(a.end_char <= b.start_char for a, b in pairwise(hits))


@settings(deadline=None)
@given(TEXTS, REGIONS, st.sets(st.sampled_from(KINDS)))
def test_masking_a_masked_text_changes_nothing(text, region, kinds):
    masked = mask(text, region, kinds)
    assert mask(masked, region, kinds) == masked
    assert find(masked, region, kinds) == []


@settings(deadline=None)
@given(TEXTS, REGIONS, st.sets(st.sampled_from(KINDS)))
@example("1-\n202.555.0143 jane@example.com", "US", set(KINDS))
def test_masking_the_lines_with_hits_masks_the_text(text, region, kinds):
    starts = [hit.start_char for hit in find(text, region)]
    assert mask_lines(text, starts[::-1], region, kinds) == mask(text, region, kinds)


@settings(deadline=None)
@given(st.text(), st.sampled_from(["jane@example.com", "+49 30 901820", "4111 1111 1111 1111"]))
def test_offsets_count_characters_also_beyond_the_basic_plane(text, planted):
    before = text + " 👩🏽‍⚖️ 𝔘 "
    whole = before + planted + " ✓"
    assert (len(before), len(before) + len(planted)) in {hit[1:] for hit in find(whole)}


@settings(deadline=None)
@given(TEXTS, REGIONS)
def test_the_cut_of_other_lines_moves_no_hit(text, region):
    by_line = [line[hit.start_char : hit.end_char] for line in text.split("\n") for hit in find(line, region)]
    assert [text[hit.start_char : hit.end_char] for hit in find(text, region)] == by_line


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    with connect(tmp_path_factory.mktemp("gate"), threads=1) as connection:
        yield lambda text: connection.execute("select may_hold_personal_data($text)", {"text": text}).fetchone()[0]


@settings(deadline=None)
@given(text=TEXTS, region=REGIONS)
def test_the_gate_lets_every_text_with_a_hit_pass(gate, text, region):
    text = text.replace("\x00", "")
    assert gate(text) or not find(text, region)


def test_the_gate_keeps_ordinary_text_out(gate):
    assert not gate("Section 10.2.1.4 of 42 U.S.C. 12112 (2018-05-10); 7.5.2.1, 20590-0001, version 1.2.3.4; the call.")
