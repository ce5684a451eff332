-- one row is a text, normalised, with its size and the md5 of what it has become, in the order of the documents
-- NULs go first: nfc_normalize stops at one. Digits, tabs and indentation stay as they are.
with lines as (
    -- CRLF, CR, vertical tab, form feed, NEL, line and paragraph separator become a line feed
    select *, regexp_replace(text, '\r\n?|[\x0b\x0c\x{85}\x{2028}\x{2029}]', chr(10), 'g') as with_line_feeds
    from raw_texts
),
visible as (
    -- control characters, soft hyphen, zero-width space, word joiner and byte order mark
    select *, nfc_normalize(regexp_replace(
        with_line_feeds, '[\x00-\x08\x0e-\x1f\x7f-\x{9f}\x{ad}\x{200b}\x{2060}\x{feff}]+', '', 'g'
    )) as composed
    from lines
),
spaced as (
    select *, regexp_replace(composed, '[\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]', ' ', 'g') as spaced
    from visible
),
trimmed as (
    select *, regexp_replace(spaced, '[ \t]+(\n|\z)', '\1', 'g') as trimmed
    from spaced
),
normalised as (
    -- at most two blank lines in a row, none at either end
    select
        place,
        text_key,
        regexp_replace(trim(trimmed, chr(10)), '\n{4,}', repeat(chr(10), 3), 'g') as text
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
