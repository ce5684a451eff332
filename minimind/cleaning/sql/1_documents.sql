-- one row is a document of the corpus, its text normalised, in order of document_id
-- NULs go first: nfc_normalize stops at one. Digits, tabs and indentation stay as they are.
with lines as (
    -- CRLF, CR, vertical tab, form feed, NEL, line and paragraph separator become a line feed
    select *, regexp_replace(text, '\r\n?|[\x0b\x0c\x{85}\x{2028}\x{2029}]', chr(10), 'g') as with_line_feeds
    from corpus
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
)
select
    document_id,
    -- at most two blank lines in a row, none at either end
    regexp_replace(trim(trimmed, chr(10)), '\n{4,}', repeat(chr(10), 3), 'g') as text,
    source,
    title,
    license,
    metadata,
    strlen(text)::bigint as raw_bytes
from trimmed
order by document_id
