-- one row is a text, normalised, with its size and the md5 of what it has become, in the order of the documents
-- Digits, tabs and indentation stay as they are. What no regular expression can do is done by repaired and tidied, in
-- Python and one thread: the first sees those texts alone that look damaged.
with lines as (
    -- CRLF, CR, vertical tab, line and paragraph separator become a line feed; form feeds are needed to find pages
    select *, regexp_replace(text, '\r\n?|[\x0b\x{2028}\x{2029}]', chr(10), 'g') as with_line_feeds
    from raw_texts
),
visible as (
    -- control characters, zero-width space, word joiner and byte order mark. NULs go first: nfc_normalize stops at one.
    -- C1 characters, NEL and soft hyphens can be halves of other characters until the encoding is repaired
    select *, nfc_normalize(regexp_replace(
        with_line_feeds, '[\x00-\x08\x0e-\x1f\x7f\x{200b}\x{2060}\x{feff}]+', '', 'g'
    )) as visible
    from lines
),
decoded as (
    select *, case when $repair_encoding and regexp_matches(visible, $damaged) then repaired(visible) else visible end
        as decoded
    from visible
),
composed as (
    select *, nfc_normalize(regexp_replace(
        replace(decoded, chr(133), chr(10)), '[\x{80}-\x{9f}\x{ad}]+', '', 'g'
    )) as composed
    from decoded
),
spaced as (
    select *, regexp_replace(composed, '[\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]', ' ', 'g') as spaced
    from composed
),
trimmed as (
    -- at most two blank lines in a row, none at either end
    select *, regexp_replace(
        trim(regexp_replace(spaced, '[ \t]+([\n\f]|\z)', '\1', 'g'), chr(10)), '\n{4,}', repeat(chr(10), 3), 'g'
    ) as trimmed
    from spaced
),
normalised as (
    select
        place,
        text_key,
        tidied(
            trimmed,
            $drop_front_matter,
            -- only where a line may be a page number
            $drop_page_furniture and regexp_matches(trimmed, '\f|(?m)^\W*(?:[Pp]age|PAGE|Seite|SEITE)?\W*\d{1,4}\b.{0,24}$'),
            $reflow
        ) as text
    from trimmed
)
select
    text_key,
    text,
    strlen(text)::bigint as bytes,
    length(text)::bigint as chars,
    md5(text) as text_md5
from normalised
order by place
