"""Where personal data of one kind stand in a text: spans from `start` up to before `end`, in characters.

A detector asks for the form of its kind and for what can be checked about it: checksums of IBANs and cards, number
plans of phones, ranges never given out of social security numbers and addresses. What stands before it decides where
the form alone does not, always within one line: `Section 10.2.1.4` is no IP address. So a hit does not depend on other
lines, and a text from which lines are cut has the hits of the lines that are left. Where a doubt remains, there is no
hit: precision comes before recall.

Patterns begin with what can be scanned for quickly; what may not stand before that is the look-behind after it.
"""

import ipaddress
import re
from collections.abc import Iterator

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

KINDS = ("email", "iban", "card", "ssn", "ip", "phone")

Span = tuple[int, int]
BREAK = re.compile(f"\n|<(?:{'|'.join(KINDS)})>")


def before(pattern: re.Pattern[str], text: str, start: int, chars: int) -> re.Match[str] | None:
    """The match in what stands before `start` in its line and after the last placeholder, at most so many characters.

    The text is not cut there, so that a word that begins before them is seen for what it is.
    """
    begin = max(0, start - chars)
    for end_of_line in BREAK.finditer(text, max(0, begin - 7), start):
        begin = max(begin, end_of_line.end())
    return pattern.search(text, begin, start)


# --- e-mail -----------------------------------------------------------------------------------------------------------

NAME = r"(?<![\w.%+'-])\w(?:[\w.%+'-]{0,62}[\w+-])?"
LABEL, TOP_LEVEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?", r"[^\W\d_]{2,24}(?![\w-])"
HOST = rf"(?:{LABEL}\.)+{TOP_LEVEL}"
DOT = r"(?:\.| ?[\[({]dot[\])}] ?)"
# what stands before a host, and the host; two are made unreadable for harvesters: name [at] host [dot] org and
# <name at host.org>
ADDRESSES = [
    (re.compile(rf"{NAME}\Z"), re.compile(rf"@{HOST}(?!:[\w~/])")),  # git@host:path is none
    (re.compile(rf"{NAME} ?\Z"), re.compile(rf"[\[({{](?i:at)[\])}}] ?(?:{LABEL}{DOT})+{TOP_LEVEL}")),
    (re.compile(rf"(?<=<){NAME}\Z"), re.compile(rf" at {HOST}(?=>)")),
]
USER_OF_URL = re.compile(r"://[^\s/@]*$")  # scheme://user@host


def emails(text: str) -> Iterator[Span]:
    for name_pattern, host_pattern in ADDRESSES:
        for host in host_pattern.finditer(text):
            name = name_pattern.search(text, max(0, host.start() - 65), host.start())
            if name and not before(USER_OF_URL, text, name.start(), 80):
                yield name.start(), host.end()


# --- bank accounts and cards ------------------------------------------------------------------------------------------

IBAN = re.compile(r"[A-Z](?<!\w.)[A-Z][0-9]{2}(?:[ \u00a0]?[A-Z0-9]{4}){2,7}(?:[ \u00a0]?[A-Z0-9]{1,3})?(?!\w)")
CARD = re.compile(r"[0-9](?<![\w.,/-].)(?:[ -]?[0-9]){12,18}(?![\w-]|[.,][0-9])")
# issuers' first digits and lengths: Visa, Mastercard, American Express, Discover, JCB, Diners Club, UnionPay
ISSUERS = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}"
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|62[0-9]{14,17}"
)
GROUPS = re.compile(
    r"[0-9]+|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}"
)


def ibans(text: str) -> Iterator[Span]:
    """Of a country's length, with a right checksum. Capitals that follow may look like more of it."""
    for match in IBAN.finditer(text):
        for end in range(match.end(), match.start() + 14, -1):
            whole = not text[end : end + 1].isalnum()
            if whole and iban.is_valid(text[match.start() : end].replace("\u00a0", " ")):
                yield match.start(), end
                break


def cards(text: str) -> Iterator[Span]:
    """Of an issuer's range and length, grouped as on a card or not at all, with a right checksum (Luhn)."""
    for match in CARD.finditer(text):
        digits = re.sub(r"[ -]", "", match[0])
        if ISSUERS.fullmatch(digits) and GROUPS.fullmatch(match[0]) and luhn.is_valid(digits):
            yield match.span()


# --- social security numbers ------------------------------------------------------------------------------------------

SSN = re.compile(r"[0-9](?<![\w.,/§-].)[0-9]{2}([ -]?)[0-9]{2}\1[0-9]{4}(?![\w-]|[.,/][0-9])")
SSN_CUE = re.compile(r"(?i)\b(?:ssn|social security)\b")


def social_security_numbers(text: str) -> Iterator[Span]:
    """With hyphens, or after a word that says so; area, group and serial number of those ever given out."""
    for match in SSN.finditer(text):
        named = match[1] == "-" or before(SSN_CUE, text, match.start(), 60)
        if named and ssn.is_valid(match[0].replace(" ", "-")):
            yield match.span()


# --- IP addresses -----------------------------------------------------------------------------------------------------

PREFIX = r"(?:/([0-9]{1,3}))?"  # of a network
IPV4 = re.compile(
    rf"[0-9](?<![\w.].)(?<![A-Za-z]-.)[0-9]{{0,2}}(?:\.[0-9]{{1,3}}){{3}}(?!\w|\.\w|-[A-Za-z])(?={PREFIX})"
)
IPV6 = re.compile(
    rf"[23fF](?<![\w:.].)[0-9A-Fa-f]{{3}}:(?:[0-9A-Fa-f]{{0,4}}:){{1,6}}[0-9A-Fa-f]{{1,4}}(?![\w:])(?={PREFIX})"
)
IP_CUE = re.compile(
    r"(?i)\b(?:ip|ipv4|inet|hosts?|(?:name)?servers?|dns|ping|ssh|subnet|gateway|router|proxy)\b|//$|@$"
)
NUMBERED = re.compile(  # a section, a version
    r"(?i)(?:§|[=<>~!]=|\b(?:(?:sub)?sections?|sec|clauses?|paragraphs?|paras?|articles?|art|annex|appendix|schedule"
    r"|chapter|part|rules?|regulations?|items?|table|figure|version|ver|v|release|build|kernel|oid|comar|abschnitt"
    r"|nummern?|nr|ziffern?|kapitel|punkt|anhang|anlage)\b)[\s.:(]{0,3}$"
)


def ip_addresses(text: str) -> Iterator[Span]:
    """That could be somebody's. Four numbers up to 99 are a section or a version, unless a word says what they are."""
    for match in IPV4.finditer(text):
        start = match.start()
        likely = re.search("[0-9]{3}", match[0]) or before(IP_CUE, text, start, 30)
        if likely and not before(NUMBERED, text, start, 30) and is_somebodys(match[0], match[1]):
            yield match.span()
    for match in IPV6.finditer(text):
        if is_somebodys(match[0], match[1]):
            yield match.span()


def is_somebodys(address: str, prefix: str | None) -> bool:
    """False for no address, the machine's own, those of groups and of later use, masks, and a network as a whole."""
    try:
        interface = ipaddress.ip_interface(f"{address}/{prefix}" if prefix else address)
    except ValueError:
        return False
    ip, network = interface.ip, interface.network
    whole_network = network.num_addresses > 1 and ip == network.network_address
    nobodys = ip.is_loopback or ip.is_unspecified or ip.is_multicast or ip.is_reserved or ip.is_link_local
    return not (whole_network or nobodys)


# --- phones -----------------------------------------------------------------------------------------------------------

DASH = r"\-\u2010-\u2013"
DIGIT = rf"[ \u00a0.{DASH}/]{{0,3}}[0-9]"
AREA = r"\([0-9]{1,5}\)"
INTERNATIONAL = re.compile(rf"\+(?<![\w+].) ?[0-9]{{1,3}} ?(?:{AREA})?(?:{DIGIT}){{4,14}}(?!\w)")
NATIONAL = re.compile(rf"[0-9(](?<![\w+(].)(?:(?<=\()[0-9]{{1,5}}\)|[ -]?{AREA})?(?:{DIGIT}){{3,14}}(?!\w)")
# three digits, three and four, as North America writes them
NORTH_AMERICAN = re.compile(
    rf"[2-9(](?<!\w.)(?:(?<=\()[2-9][0-9]{{2}}\) ?[2-9][0-9]{{2}}[{DASH}. ]"
    rf"|[0-9]{{2}}(?:[{DASH}][2-9][0-9]{{2}}[{DASH}]|\.[2-9][0-9]{{2}}\.))[0-9]{{4}}(?![\w-]|[.,][0-9])"
)
COUNTRY_ONE = re.compile(rf"\+?1[{DASH}. ]\Z")  # $ would match before a line feed
LONGER_NUMBER = re.compile(rf"[0-9][{DASH}.,/]$")
PHONE_CUE = re.compile(
    r"(?i)(?<![^\W_])(?:tel|telephone|phone|fax|facsimile|mobile|cell|cellular|call|dial|hotline|tty|tdd|telefon"
    r"|telefax|fon|mobil|handy|fernsprecher|téléphone|tél)(?![^\W_])[^0-9+]{0,25}$"
)
OTHER_NUMBER = re.compile(
    r"(?i)(?:§|\b(?:sections?|sec|clauses?|parts?|dfars?|far|dockets?|patents?|serial|isbn|issn|items?|model|policy"
    r"|accounts?|orders?|invoice|contracts?|case|file|licen[cs]e|permit|registration)\b)"
    r"\W{0,3}(?:no|nos|numbers?|#)?\W{0,3}$"
)


def phones(text: str, region: str | None) -> Iterator[Span]:
    """With a country code, after a word such as `Tel.`, or in the form that only North America's numbers have."""
    found = set(international(text))
    if region is not None:
        found |= set(national(text, region))
        if phonenumbers.country_code_for_region(region) == 1:
            found |= set(north_american(text))
    last = 0
    for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
        if start >= last:
            yield start, end
            last = end


def international(text: str) -> Iterator[Span]:
    for match in INTERNATIONAL.finditer(text):
        apart = match[0][1] == " "  # as in a sum
        if not apart or before(PHONE_CUE, text, match.start(), 50):
            yield from valid_start(text, *match.span(), None)


def national(text: str, region: str) -> Iterator[Span]:
    trunk = phonenumbers.ndd_prefix_for_region(region, True)
    for match in NATIONAL.finditer(text):
        if before(PHONE_CUE, text, match.start(), 50) and (trunk != "0" or match[0].lstrip("(").startswith("0")):
            yield from valid_start(text, *match.span(), region)


def north_american(text: str) -> Iterator[Span]:
    for match in NORTH_AMERICAN.finditer(text):
        country = COUNTRY_ONE.search(text, max(0, match.start() - 3), match.start())
        start = country.start() if country else match.start()
        if not before(LONGER_NUMBER, text, start, 40) and not before(OTHER_NUMBER, text, start, 40):
            yield from valid_start(text, start, match.end(), "US")


def valid_start(text: str, start: int, end: int, region: str | None) -> Iterator[Span]:
    """The longest run of whole groups of digits that is a number of the plan, if there is one."""
    while end - start > 6:
        try:
            number = phonenumbers.parse(re.sub("^00", "+", text[start:end]), region)
        except phonenumbers.NumberParseException:
            return
        if phonenumbers.is_valid_number(number):
            yield start, end
            return
        shorter = re.match(r".*[0-9](?=[^0-9]+[0-9]+$)", text[start:end])
        end = start + shorter.end() if shorter else start
